"""A Redis server in words: addresses, and whose fault an error is."""

import socket

import pytest
from redis import exceptions

from arroyo import ConfigurationError, UnavailableError
from arroyo.connectors.redis.client import RedisServer
from arroyo.connectors.retrying import Outage


def server(url=None, host=None, port=None, db=None, password_env=None):
    return RedisServer("Test", url, host, port, db, password_env=password_env)


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ({}, "redis://127.0.0.1:6379/0"),
        ({"host": "beamline", "db": 3}, "redis://beamline:6379/3"),
        ({"host": "::1", "port": 1}, "redis://[::1]:1/0"),
        ({"url": "unix:///run/redis"}, "unix:///run/redis"),
    ],
)
def test_an_address_is_given_as_a_whole_or_in_parts(parts, address):
    assert server(**parts).address == address


@pytest.mark.parametrize("parts", [{"host": "beamline"}, {"port": 1}, {"db": 0}])
def test_an_address_is_not_given_twice(parts):
    with pytest.raises(ConfigurationError, match="Test takes either url or host, port and db"):
        server("redis://host", **parts)


def test_it_has_no_client_before_it_is_connected_and_after_it_is_closed():
    made = server()
    made.close()
    with pytest.raises(RuntimeError, match="before open"):
        assert made.client


ERRORS = [
    (
        exceptions.AuthenticationError("WRONGPASS"),
        ConfigurationError,
        "refuses the password",
        False,
    ),
    (exceptions.ConnectionError("refused"), UnavailableError, "can't be reached .refused.", True),
    (exceptions.TimeoutError("late"), UnavailableError, "can't be reached .late.", True),
    (exceptions.ResponseError("MISCONF no"), UnavailableError, "make room on its disk", True),
    (exceptions.OutOfMemoryError("full"), UnavailableError, "raise its maxmemory", True),
    (exceptions.ReadOnlyError("replica"), UnavailableError, "address of the primary", True),
    (exceptions.ResponseError("WRONGTYPE key"), ConfigurationError, "refuses: WRONGTYPE", False),
]


@pytest.mark.parametrize(("error", "kind", "words", "may_pass"), ERRORS)
def test_an_error_says_whose_fault_it_is_and_what_to_do(error, kind, words, may_pass):
    with pytest.raises(kind, match=words), server().explained():
        raise error
    assert server().is_final(error, Outage(10.0)) != may_pass


def test_a_command_is_tried_again_where_that_may_help_and_explained_in_the_end():
    left = [exceptions.TimeoutError("late"), exceptions.ResponseError("MISCONF no"), None]

    def command():
        if (error := left.pop(0)) is not None:
            raise error
        return "done"

    assert server().insist(command, 10.0, lambda why: False) == "done"
    left[:] = [exceptions.ResponseError("WRONGTYPE key")]
    with pytest.raises(ConfigurationError, match="WRONGTYPE"):
        server().insist(command, 10.0, lambda why: False)
    left[:] = [exceptions.TimeoutError("late")]
    with pytest.raises(UnavailableError, match="late"):
        server().insist(command, 10.0, lambda why: True)


def test_a_server_that_is_away_is_named_and_leaves_no_client():
    with socket.socket() as door:  # bound and not listening, so that nobody else does
        door.bind(("127.0.0.1", 0))
        made = server(port=door.getsockname()[1])
        with pytest.raises(UnavailableError, match=f"{door.getsockname()[1]}/0 can't be reached"):
            made.connect()
    with pytest.raises(RuntimeError):
        assert made.client
