"""How a connector logs in to a NATS server, and what it says where it can't."""

import json
import re

import pytest
from outside import Recorder, opened, running

from arroyo import ConfigurationError, Event, UnavailableError
from arroyo.connectors import NATSListener, NATSPublisher

pytest_plugins = ["nats_server"]

USERS = """authorization { users = [
    { user: chain, password: sesame }
    { user: guest, password: sesame, permissions: {
        publish: ["$JS.API.STREAM.INFO.frames"], subscribe: "_INBOX.>" } }
] }"""


@pytest.fixture
def locked(nats_server, tmp_path):
    """Starts a server with settings of who may log in; return it."""
    from nats_server import NATSServer  # a plugin, so not before that

    servers = []

    def start(settings):
        server = NATSServer(tmp_path / "locked", settings)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


def both(url, **login):
    return [
        NATSListener(Recorder(), "frames", "frames", url, **login),
        NATSPublisher("frames", url, **login),
    ]


def refusal(stage):
    """Open a stage, and return what it says."""
    with pytest.raises((ConfigurationError, UnavailableError)) as caught:
        stage.open()
    stage.close()
    return caught.value


def test_a_password_from_the_environment_opens(locked, monkeypatch):
    server = locked(USERS)
    monkeypatch.setenv("NATS_PASSWORD", "sesame")
    for stage in both(server.url, user="chain", password_env="NATS_PASSWORD"):
        said = refusal(stage)
        assert isinstance(said, UnavailableError)  # it is in, and finds no stream
        assert "stream" in str(said)


def test_a_token_from_the_environment_opens(locked, monkeypatch):
    server = locked("authorization { token: sesame }")
    monkeypatch.setenv("NATS_TOKEN", "sesame")
    for stage in both(server.url, token_env="NATS_TOKEN"):
        assert "stream" in str(refusal(stage))


def test_a_wrong_password_or_token_is_a_configuration_error(locked, monkeypatch):
    server = locked(USERS)
    monkeypatch.setenv("NATS_SECRET", "wrong")
    logins = [
        {"user": "chain", "password_env": "NATS_SECRET"},
        {"token_env": "NATS_SECRET"},
        {},
    ]
    for login in logins:
        for stage in both(server.url, **login):
            said = refusal(stage)
            assert isinstance(said, ConfigurationError)
            assert "refuses user, password or token" in str(said)
            assert "wrong" not in str(said)


def test_what_is_not_permitted_is_a_configuration_error(locked, monkeypatch):
    server = locked(USERS)
    monkeypatch.setenv("NATS_PASSWORD", "sesame")
    stage = NATSPublisher("frames", server.url, user="guest", password_env="NATS_PASSWORD")
    said = refusal(stage)
    assert isinstance(said, ConfigurationError)
    assert "does not permit it" in str(said)


def test_the_permissions_of_the_page_are_enough(locked, page, monkeypatch):
    (line,) = re.findall(r"has to be permitted.*", page)
    subjects = json.dumps(re.findall(r"`([^`]+)`", line)[2:-1])
    server = locked(
        "authorization { users = [\n{ user: admin, password: sesame }\n{ user: chain, password: "
        f'sesame, permissions: {{ publish: {subjects}, subscribe: "_INBOX.>" }} }}\n] }}'
    )
    monkeypatch.setenv("NATS_PASSWORD", "sesame")
    from nats_server import NATSProgram

    admin = NATSProgram(server.url, user="admin", password="sesame")
    admin.make("frames", "frames.>")
    admin.make("curves", "curves.>")
    login = {"user": "chain", "password_env": "NATS_PASSWORD"}
    recorder = Recorder()
    admin.send("frames.a", [({"arroyo": '{"type": "Event"}'}, b"")])
    with (
        running(NATSListener(recorder, "frames", "frames.>", server.url, **login)) as frames,
        opened(NATSPublisher("curves.powder", server.url, **login)) as curves,
    ):
        recorder.wait_for(1)
        frames.acknowledge_batch(recorder.tokens)
        curves.publish(Event())
        curves.flush()
    assert len(admin.read("curves")) == 1


def test_one_server_of_several_is_enough(nats_server, program):
    program.make("frames", "frames")
    for stage in both(["nats://127.0.0.1:1", nats_server.url]):
        stage.open()
        stage.close()
