from supervised_histories import LINE, make_chain, name_of

from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.replicas import Replicas
from arroyo.supervision.decisions.start_queue import StartQueue


def make(limit):
    replicas, actions = Replicas(make_chain(LINE)), []
    return replicas, StartQueue(replicas, limit, actions.append), actions


def started(actions):
    return [str(action.replica) for action in actions]


def test_sinks_start_before_sources():
    _, queue, actions = make(limit=9)
    queue.start_due(0.0)
    assert started(actions) == ["patterns.0", "integrate.0", "images.0"]


def test_the_next_one_starts_when_another_has_imported():
    replicas, queue, actions = make(limit=1)
    queue.start_due(0.0)
    assert started(actions) == ["patterns.0"]
    assert queue.next_at is None
    replicas[name_of("patterns.0")].ready_at = 1.0
    assert queue.next_at == 0.0
    queue.start_due(1.0)
    assert started(actions) == ["patterns.0", "integrate.0"]


def test_a_replica_that_is_not_due_waits():
    replicas, queue, actions = make(limit=9)
    replicas[name_of("images.0")].due_at = 5.0
    queue.start_due(4.9)
    assert "images.0" not in started(actions)
    assert queue.next_at == 5.0


def test_a_restart_brings_back_what_had_finished_below():
    replicas, queue, actions = make(limit=9)
    replicas[name_of("patterns.0")].rest()
    queue.start_due(0.0)
    assert "patterns.0" not in started(actions)
    queue.start_due(0.0)
    assert started(actions)[-1] == "patterns.0"


def test_what_is_failed_does_not_start_while_the_chain_stops():
    replicas, queue, actions = make(limit=9)
    for replica in replicas:
        replica.state = State.FAILED
    replicas.stopping = True
    queue.start_due(0.0)
    assert actions == [] and queue.next_at is None
