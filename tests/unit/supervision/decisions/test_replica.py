import pytest
from supervised_histories import LINE, make_chain, name_of

from arroyo.supervision.decisions.ending import Ending, Evidence
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.replica import is_due
from arroyo.supervision.decisions.replicas import Replicas


@pytest.fixture
def replica():
    made = Replicas(make_chain(LINE))[name_of("integrate.0")]
    made.spawn(10.0)
    return made


def test_a_process_imports_until_it_is_ready(replica):
    assert replica.is_importing
    replica.ready_at = 11.0
    assert not replica.is_importing


@pytest.mark.parametrize(
    ("status", "phase", "said_stopping", "finished"),
    [
        (0, "ENDED", False, True),
        (0, "PROCESS", True, False),  # C code has called exit(0)
        (0, "", True, True),
        (0, "", False, False),
        (1, "ENDED", True, False),
    ],
)
def test_only_an_exit_at_the_end_of_the_work_is_a_finish(
    replica, status, phase, said_stopping, finished
):
    replica.said_stopping = said_stopping
    assert replica.has_finished(Ending(1.0, status, "", Evidence(phase=phase))) == finished


def test_a_ready_replica_that_is_not_well_is_shown_as_degraded(replica):
    replica.state = State.READY
    replica.condition = Condition.HUNG
    assert replica.seen_state is State.DEGRADED
    replica.state = State.DRAINING
    assert replica.seen_state is State.DRAINING


@pytest.mark.parametrize(("status", "broken"), [(1, True), (75, False), (None, True)])
def test_a_replica_that_rests_after_a_failure_is_broken_but_not_after_a_75(replica, status, broken):
    replica.ending = Ending(1.0, status)
    replica.end()
    replica.rest()
    assert replica.is_broken == broken


def test_a_new_process_starts_without_the_marks_of_the_one_before(replica):
    replica.said_stopping = replica.overdue = True
    replica.term_at = 12.0
    replica.end()
    replica.spawn(20.0)
    assert (replica.said_stopping, replica.overdue, replica.term_at) == (False, False, None)


def test_no_time_is_never_due():
    assert not is_due(None, 1e9)
    assert is_due(5.0, 5.0) and not is_due(5.0, 4.9)
