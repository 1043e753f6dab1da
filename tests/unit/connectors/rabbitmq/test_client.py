"""The address of a server, and what pika's errors mean."""

import pytest
from pika import exceptions

from arroyo import ConfigurationError, UnavailableError
from arroyo.connectors.rabbitmq.client import Server


def server(url, ca_file=None):
    return Server("Test", url, None, (ca_file, None, None))


@pytest.mark.parametrize(
    ("url", "address", "vhost"),
    [
        ("amqp://", "amqp://127.0.0.1:5672", "/"),
        ("amqp://broker", "amqp://broker:5672", "/"),
        ("amqp://broker/%2F", "amqp://broker:5672", "/"),
        ("amqp://daq@broker:1/beam%2Fline", "amqp://broker:1", "beam/line"),
        ("amqps://[::1]", "amqps://[::1]:5671", "/"),
    ],
)
def test_an_address_is_completed(url, address, vhost):
    made = server(url)
    assert made.address == address
    assert made.parameters().virtual_host == vhost


def test_a_file_of_tls_that_can_not_be_read_is_a_configuration_error(tmp_path):
    made = server("amqps://broker", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="ca_file, cert_file or key_file can't be used"):
        made.parameters()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            exceptions.ProbableAuthenticationError("(403) 'ACCESS_REFUSED - Login was refused'"),
            ConfigurationError,
            "refuses the user 'guest' or the password",
        ),
        (
            exceptions.ProbableAuthenticationError("StreamLostError: reset by peer"),
            UnavailableError,
            "can't be reached",
        ),
        (
            exceptions.ProbableAccessDeniedError("(530) 'NOT_ALLOWED - vhost x not found'"),
            ConfigurationError,
            "refuses the virtual host '/'",
        ),
        (
            exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q'"),
            UnavailableError,
            "'q'",
        ),
        (exceptions.ChannelClosedByBroker(405, "RESOURCE_LOCKED"), UnavailableError, "another"),
        (exceptions.ChannelClosedByBroker(403, "no"), ConfigurationError, "does not permit it"),
        (
            exceptions.ChannelClosedByBroker(406, "inequivalent"),
            ConfigurationError,
            "leave declare",
        ),
        (
            exceptions.ChannelClosedByBroker(406, "delivery acknowledgement timed out: timeout"),
            UnavailableError,
            "consumer_timeout",
        ),
        (
            exceptions.AMQPConnectionError(ConnectionRefusedError(111, "Connection refused")),
            UnavailableError,
            "can't be reached .*Connection refused",
        ),
        (exceptions.AMQPConnectionError(), UnavailableError, "AMQPConnectionError"),
    ],
)
def test_an_error_says_whose_fault_it_is_and_what_to_do(error, kind, words):
    said = server("amqp://broker").explain(error)
    assert type(said) is kind
    with pytest.raises(kind, match=words):
        raise said
