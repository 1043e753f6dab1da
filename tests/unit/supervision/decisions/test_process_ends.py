"""What follows from the end of a process; `test_orders` has the ends that people ask for."""

import signal

from supervised_histories import History, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.process_ends import STABLE_S
from arroyo.supervision.decisions.restart_policy import RETRY_FAILED_S

NAME = "integrate.0"


def test_failures_before_a_stable_time_are_forgotten():
    history = History(supervision=Supervision(max_restarts=1)).all_ready()
    for _ in range(3):
        history.pass_time(STABLE_S)
        history.end(NAME, 1)
        history.ready(NAME)
    assert history.state(NAME) is State.READY


def test_an_end_with_its_work_unfinished_is_a_failure_though_it_exits_with_0():
    history = History().all_ready()
    (told,) = history.end(NAME, 0)
    assert isinstance(told, act.WillRestart)


def test_one_that_gives_up_stops_the_chain_where_that_is_wanted():
    limits = Supervision(max_restarts=0, on_failed="stop-chain")
    history = History(supervision=limits).all_ready()
    told = history.end(NAME, 1)
    assert [type(each) for each in told] == [act.GaveUp, act.Draining]


def test_one_that_gives_up_ends_the_chain_at_once_where_that_is_wanted():
    limits = Supervision(max_restarts=0, on_failed="exit")
    history = History(supervision=limits).all_ready()
    told = history.end(NAME, 1)
    assert [type(each) for each in told] == [act.GaveUp, act.Draining, act.CutShort]
    assert set(history.signals) == {("images.0", signal.SIGTERM), ("patterns.0", signal.SIGTERM)}
    history.end("images.0")
    history.end("patterns.0")
    assert (history.exit_code, history.reasons) == (1, ("integrate.0 failed",))


def test_one_that_gives_up_while_the_chain_drains_does_not_cut_that_short():
    limits = Supervision(max_restarts=0, on_failed="exit")
    history = History(supervision=limits).all_ready()
    history.stop()
    assert [type(each) for each in history.end(NAME, 1)] == [act.GaveUp]


def test_a_wrong_configuration_at_the_start_ends_the_chain_whatever_is_wanted():
    for wanted in ("hold", "stop-chain", "exit"):
        history = History(supervision=Supervision(on_failed=wanted))
        history.end(NAME, 78)
        for name in ("images.0", "patterns.0"):
            history.end(name)
        assert history.exit_code == 78


def test_one_that_gives_up_is_held_if_nothing_is_said_and_the_rest_works_on():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    assert [type(each) for each in history.end(NAME, 1)] == [act.GaveUp]
    assert history.state("images.0") is State.READY
    assert history.machine.replicas.state is State.DEGRADED
    history.pass_time(RETRY_FAILED_S)
    assert history.spawned.count(NAME) == 2, "it is tried again, rarely"


def test_a_source_that_dies_while_it_is_stopped_keeps_the_reason_for_the_account():
    history = History().all_ready()
    history.stop_stage("images")
    history.end("images.0", -9)
    assert history.machine.replicas[name_of("images.0")].ending.status == -9
    history.stop()
    for name in (NAME, "patterns.0"):
        history.end(name)
    assert history.exit_code == 1
    assert history.reasons == ("images.0 had ended badly and did not come back",)


def test_an_operator_that_does_so_leaves_nothing_behind():
    history = History().all_ready()
    history.stop_stage("integrate")
    history.end(NAME, -9)
    assert history.machine.replicas[name_of(NAME)].ending is None
