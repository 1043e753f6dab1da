"""NATS servers in words: addresses, and whose fault an error is."""

import ssl

import pytest
from nats.errors import AuthorizationError, NoRespondersError
from nats.errors import Error as NATSError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from arroyo import ConfigurationError, UnavailableError
from arroyo.connectors.nats.client import UnconfirmedError, check_servers, explain

SERVER = "nats://broker:4222"


@pytest.mark.parametrize(
    ("servers", "addresses"),
    [
        (SERVER, [SERVER]),
        ([SERVER, "tls://[::1]"], [SERVER, "tls://[::1]"]),
    ],
)
def test_addresses_are_a_text_or_a_list(servers, addresses):
    assert check_servers("Test", servers) == addresses


@pytest.mark.parametrize(
    ("servers", "complaint"),
    [
        ([], "Test: servers is empty"),
        ("broker:4222", "'broker:4222'; expected nats://host:port"),
        ("nats://broker:0", "expected nats://host:port"),
        ("nats://broker:99999", "expected nats://host:port"),
        ([SERVER, 7], "servers has 7"),
        ("nats://me:sesame@broker", "holds a user, password or token"),
        ("nats://sesame@broker", "holds a user, password or token"),
    ],
)
def test_what_is_no_address_is_refused_and_no_secret_is_told(servers, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        check_servers("Test", servers)
    assert "sesame" not in str(caught.value)


def distrusted():
    error = ssl.SSLCertVerificationError("self-signed")
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (AuthorizationError(), ConfigurationError, "refuses user, password or token"),
        (NATSError("nats: 'Authorization Violation'"), ConfigurationError, "refuses user"),
        (distrusted(), ConfigurationError, "is not trusted (self-signed certificate); name that"),
        (NoStreamResponseError(), UnavailableError, "has no stream that takes this subject"),
        (NotFoundError(code=404, description="no"), UnavailableError, "has no such stream (no)"),
        (APIError(), UnavailableError, "has no JetStream just now; start it with -js"),
        (APIError(code=503, description="full"), UnavailableError, "takes nothing now (full)"),
        (APIError(code=400, description="bad"), ConfigurationError, "refuses: bad"),
        (UnconfirmedError(), UnavailableError, "confirms nothing that is published"),
        (NoRespondersError(), UnavailableError, "can't be reached (nobody answers)"),
        (OSError("nats: refused"), UnavailableError, "can't be reached (refused); start it"),
        (TimeoutError(), UnavailableError, "can't be reached (no answer); start it"),
    ],
)
def test_an_error_says_whose_fault_it_is_and_what_to_do(error, kind, words):
    said = explain(error, SERVER, "")
    assert type(said) is kind
    assert words in str(said)
    assert SERVER in str(said)


def test_what_is_not_permitted_is_said_in_place_of_the_missing_answer():
    said = explain(TimeoutError(), SERVER, "permissions violation for publish")
    assert type(said) is ConfigurationError
    assert str(said).endswith("does not permit it: permissions violation for publish")
