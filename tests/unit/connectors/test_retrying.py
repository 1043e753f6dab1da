"""How a connector tries again while its server is away."""

import time

import pytest

from arroyo.connectors import retrying
from arroyo.connectors.retrying import Outage, RetriedServer
from arroyo.errors import ConfigurationError, UnavailableError


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by sleeping; returns the times slept."""
    slept = []
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def failing(count, error):
    left = [error] * count

    def command():
        if left:
            raise left.pop()
        return "done"

    return command


def test_waits_double_up_to_a_longest_one(clock):
    outage = Outage(10.0)
    waits = [outage.next_wait_s() for _ in range(8)]
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    outage.end()
    assert outage.next_wait_s() == 0.05


def test_an_outage_begins_with_its_first_failure_and_is_hopeless_after_a_time(clock):
    outage = Outage(10.0)
    clock.append(100.0)
    assert not outage.is_hopeless()
    assert outage.note()
    clock.append(10.0)
    assert not outage.note()
    assert not outage.is_hopeless()
    clock.append(0.1)
    assert outage.is_hopeless()
    outage.end()
    assert not outage.is_hopeless()
    assert outage.note()


def test_an_outage_may_end_while_another_thread_asks_about_it(monkeypatch):
    outage = Outage(10.0)
    outage.note()

    def now():
        outage.end()
        return 0.0

    monkeypatch.setattr(time, "monotonic", now)
    assert not outage.is_hopeless()


class Server(RetriedServer):
    """A server that refuses a value, and is away for an OSError."""

    failed = (OSError, ValueError)

    def explain(self, error):
        kind = UnavailableError if isinstance(error, OSError) else ConfigurationError
        return kind(f"the server says: {error}")


def test_a_command_is_tried_again_until_it_works(clock):
    assert Server().insist(failing(3, OSError("away")), 10.0, lambda why: False) == "done"
    assert clock == [0.05, 0.1, 0.2]


@pytest.mark.parametrize(
    ("error", "stopping", "raised"),
    [
        (ValueError, False, ConfigurationError),
        (OSError, True, UnavailableError),
        (KeyError, False, KeyError),
    ],
)
def test_a_command_is_given_up_at_once_where_there_is_no_use(clock, error, stopping, raised):
    with pytest.raises(raised):
        Server().insist(failing(1, error("away")), 10.0, lambda why: stopping)
    assert clock == []


def test_a_command_is_given_up_after_a_time(clock):
    with pytest.raises(UnavailableError, match="the server says: away"):
        Server().insist(failing(100, OSError("away")), 1.0, lambda why: False)
    assert 1.0 < sum(clock) < 1.0 + retrying.LONGEST_WAIT_S


def test_it_says_after_each_failure_what_is_waited_for(clock):
    said = []
    Server().insist(failing(2, OSError("away")), 10.0, said.append)
    assert said == ["the server says: away"] * 2


def test_an_error_is_final_where_it_does_not_pass_and_after_a_time(clock):
    outage = Outage(10.0)
    outage.note()
    assert Server().is_final(ValueError("no"), outage)
    assert not Server().is_final(OSError("away"), outage)
    clock.append(11.0)
    assert Server().is_final(OSError("away"), outage)
