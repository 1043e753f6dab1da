import signal

import pytest
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.replicas import Replicas
from arroyo.supervision.decisions.shutdown import ABANDON_AFTER_S, KILL_AFTER_S, Shutdown

TIMEOUT_S = 10.0


class Stopped:
    """A chain whose processes all run, and what its shutdown asks for."""

    def __init__(self):
        self.replicas = Replicas(make_chain(LINE, Supervision(stop_timeout_s=TIMEOUT_S)))
        self.replicas.flowing = True
        for replica in self.replicas:
            replica.spawn(0.0)
        self.actions, self.trouble = [], []
        self.shutdown = Shutdown(self.replicas, self.actions.append, self.trouble.append)

    def signals(self):
        """Take the signals that were sent: replica and number."""
        sent = [
            (str(action.replica), action.number)
            for action in self.actions
            if isinstance(action, act.Signal)
        ]
        self.actions.clear()
        return sent


ALL = ("images.0", "integrate.0", "patterns.0")


@pytest.fixture
def chain():
    return Stopped()


def test_only_listeners_are_told_first(chain):
    chain.shutdown.request("SIGINT", 100.0)
    assert chain.actions[0] == act.Draining("SIGINT", TIMEOUT_S)
    assert chain.signals() == [("images.0", signal.SIGTERM)]
    assert chain.shutdown.next_at == 100.0 + TIMEOUT_S


def test_all_are_told_at_once_where_nothing_is_in_flight(chain):
    chain.replicas.flowing = False
    chain.shutdown.request("SIGINT", 100.0)
    assert [name for name, _ in chain.signals()] == list(ALL)


def test_the_level_below_follows_when_nothing_can_come_any_more(chain):
    chain.shutdown.request("SIGINT", 100.0)
    chain.signals()
    chain.shutdown.dismiss_cut_off()
    assert chain.signals() == []
    listener = next(iter(chain.replicas))
    listener.end()
    listener.rest()
    chain.shutdown.dismiss_cut_off()
    assert chain.signals() == [("integrate.0", signal.SIGTERM)]


def test_a_second_request_stops_now_and_a_third_changes_nothing(chain):
    chain.shutdown.request("SIGINT", 100.0)
    chain.signals()
    chain.shutdown.request("SIGINT", 101.0)
    assert [name for name, _ in chain.signals()] == list(ALL)
    assert chain.trouble == [f"it was stopped before {', '.join(ALL)} had finished"]
    chain.shutdown.request("SIGINT", 102.0)
    assert chain.actions == []
    assert chain.shutdown.next_at == 101.0 + KILL_AFTER_S


def test_every_step_has_a_deadline(chain):
    chain.shutdown.request("SIGINT", now := 100.0)
    chain.shutdown.keep_deadlines(now := now + TIMEOUT_S)
    assert chain.shutdown.is_cut_short and not chain.shutdown.has_killed
    chain.signals()
    chain.shutdown.keep_deadlines(now := now + KILL_AFTER_S)
    assert chain.signals() == [(name, signal.SIGKILL) for name in ALL]
    assert not chain.shutdown.has_abandoned(now)
    assert chain.shutdown.has_abandoned(now + ABANDON_AFTER_S)
