"""Connectors and servers that speak TLS: trusted, or refused with a sentence."""

from __future__ import annotations

from itertools import chain

import pika
import pytest
from brokers import load_broker
from outside import Recorder, free_port, opened, running

from arroyo.connectors import (
    NATSListener,
    NATSPublisher,
    RabbitMQListener,
    RabbitMQPublisher,
    RedisStreamListener,
    RedisStreamPublisher,
)
from arroyo.errors import ConfigurationError
from arroyo.messages import Event

pytest_plugins = ["certificates", "nats_server", "rabbitmq_server", "redis_server"]
# The servers' modules are imported where they are used: not before they are plugins.


class Redis:
    """A server with TLS at a port of its own, beside the other one."""

    needs = "redis_brokers:RedisStreams"

    def __init__(self, folder, certificates):
        from redis_server import RedisServer

        port = free_port()
        options = {
            "--tls-port": str(port),
            "--tls-auth-clients": "no",
            "--tls-cert-file": str(certificates.server),
            "--tls-key-file": str(certificates.key),
            "--tls-ca-cert-file": str(certificates.authority),
        }
        self.server = RedisServer("redis-server", folder, options=list(chain(*options.items())))
        self.server.start()
        self.address = f"rediss://HOST:{port}/0"

    def publisher(self, url, **options):
        return RedisStreamPublisher("frames", url, **options)

    def listener(self, url, recorder):
        return RedisStreamListener(recorder, "frames", "chain", url)


class RabbitMQ:
    """The same of RabbitMQ."""

    needs = "rabbitmq_brokers:RabbitMQ"

    def __init__(self, folder, certificates):
        from rabbitmq_server import RabbitMQServer

        port = free_port()
        self.server = RabbitMQServer(
            folder,
            f"listeners.ssl.default = 127.0.0.1:{port}\n"
            f"ssl_options.cacertfile = {certificates.authority}\n"
            f"ssl_options.certfile = {certificates.server}\n"
            f"ssl_options.keyfile = {certificates.key}\n"
            "ssl_options.verify = verify_none\n",
        )
        self.server.start()
        parameters = pika.ConnectionParameters("127.0.0.1", self.server.port)
        with pika.BlockingConnection(parameters) as connection:
            connection.channel().queue_declare("frames", durable=True)
        self.address = f"amqps://HOST:{port}"

    def publisher(self, url, **options):
        return RabbitMQPublisher("", "frames", url, **options)

    def listener(self, url, recorder):
        return RabbitMQListener(recorder, "frames", url)


class NATS:
    """A server that speaks nothing but TLS."""

    needs = "nats_brokers:NATSJetStream"

    def __init__(self, folder, certificates):
        from nats_server import NATSProgram, NATSServer

        settings = f'tls {{ cert_file: "{certificates.server}", key_file: "{certificates.key}" }}'
        self.server = NATSServer(folder, settings)
        self.server.start()
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("SSL_CERT_FILE", str(certificates.authority))
            NATSProgram(f"tls://localhost:{self.server.port}").make("frames", "frames")
        self.address = f"tls://HOST:{self.server.port}"

    def publisher(self, url, **options):
        return NATSPublisher("frames", url, **options)

    def listener(self, url, recorder):
        return NATSListener(recorder, "frames", "frames", url)


@pytest.fixture(scope="module", params=[Redis, RabbitMQ, NATS], ids=lambda kind: kind.__name__)
def broker(request, certificates, tmp_path_factory):
    """A server with a certificate for localhost, and makers of its connectors."""
    load_broker(request.param.needs)
    made = request.param(tmp_path_factory.mktemp("server"), certificates)
    yield made
    made.server.close()


def test_messages_travel_by_tls_where_the_authority_is_trusted(broker, certificates, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    url = broker.address.replace("HOST", "localhost")
    recorder = Recorder()
    with running(broker.listener(url, recorder)), opened(broker.publisher(url)) as publisher:
        for size in (10, 1_000_000):
            publisher.publish(Event({"n": 1}, bytes(size)))
        publisher.flush()
        recorder.wait_for(2)
    assert [len(event.payload) for event in recorder.events] == [10, 1_000_000]


@pytest.mark.parametrize(
    ("trusted", "host", "complaint"),
    [
        (False, "localhost", r"is not trusted \(.*certificate.*\); name that of its authority in"),
        (True, "127.0.0.1", r"is for another host \(.*'127.0.0.1'\); use a name that it is for"),
    ],
)
def test_a_server_that_is_not_trusted_is_refused(
    broker, certificates, monkeypatch, trusted, host, complaint
):
    url = broker.address.replace("HOST", host)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.setenv("PASSWORD", "sesame")
    publisher = broker.publisher(url, password_env="PASSWORD")
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        publisher.open()
    publisher.close()
    assert url in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("broker", [RabbitMQ], indirect=True)
def test_rabbitmq_takes_the_authority_from_ca_file(broker, certificates):
    url = broker.address.replace("HOST", "localhost")
    with opened(broker.publisher(url, ca_file=str(certificates.authority))) as publisher:
        publisher.publish(Event({"n": 1}))
        publisher.flush()
