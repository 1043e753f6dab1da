import signal

import pytest
from supervised_histories import History, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import Evidence
from arroyo.supervision.decisions.events import State

TERM = int(signal.SIGTERM)
NEW = {"options": {"factor": 2}}


def two_workers(**settings):
    return History(integrate={"replicas": 2, **settings}).all_ready()


def come_back(history, name):
    """End a process that was told to, and let the next one become READY."""
    return history.end(name) + history.ready(name)


def factor(history, name):
    return history.machine.replicas[name_of(name)].stage.options.get("factor")


def test_a_stage_is_restarted_one_process_after_the_other_and_that_is_told():
    history = two_workers()
    told = history.reload("integrate", integrate=NEW)
    assert told[0] == act.ReloadOrdered("a reload command", ("a key",))
    assert history.chain.stages["integrate"].options == {"factor": 2}, "before the first restart"
    assert history.signals == [("integrate.1", TERM)]
    come_back(history, "integrate.1")
    assert history.signals[1:] == [("integrate.0", TERM)]
    history.now += 3
    assert come_back(history, "integrate.0")[-1] == act.Reloaded(3.0)
    assert history.machine.reloading.outcome == "reloaded"


def test_limits_change_at_once_and_nothing_is_restarted():
    history = History(supervision=Supervision(max_restarts=5)).all_ready()
    told = history.reload(
        supervision=Supervision(max_restarts=0, stop_timeout_s=7.0), integrate={"backoff_s": 9.0}
    )
    assert told[-1] == act.Reloaded(0.0)
    assert history.signals == []
    history.end("integrate.0", 1)
    assert history.state("integrate.0") is State.FAILED
    assert history.stop()[0].timeout_s == 7.0


def test_one_that_died_meanwhile_comes_back_with_the_new_version_and_is_not_restarted_again():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.0", -9)
    history.ready("integrate.0")
    told = come_back(history, "integrate.1")
    assert isinstance(told[-1], act.Reloaded)
    assert history.signals == [("integrate.1", TERM)]
    assert history.spawned.count("integrate.0") == 2


@pytest.mark.parametrize("status", [1, 75, 78, -11])
def test_what_can_not_start_has_everything_taken_back(status):
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    come_back(history, "integrate.1")
    history.end("integrate.0")
    told = history.end("integrate.0", status)
    assert factor(history, "integrate.0") is None
    assert history.chain.stages["integrate"].options == {}
    assert not any(isinstance(each, act.GaveUp | act.WillRestart | act.WillRetry) for each in told)
    assert history.state("integrate.0") is State.STARTING, "at once, with the old values"
    assert history.signals[-1] == ("integrate.1", TERM), "it had the new ones already"
    history.ready("integrate.0")
    (told,) = come_back(history, "integrate.1")[1:]
    assert told == act.RolledBack(history.machine.reloading.reason)
    assert told.why.startswith("integrate.0 ")
    assert history.machine.reloading.outcome == "rolled-back"
    assert history.machine.replicas.state is State.READY


def test_a_stage_that_was_not_restarted_yet_is_not_in_a_roll_back_either():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.1")
    history.end("integrate.1", 1)
    told = history.ready("integrate.1")
    assert isinstance(told[-1], act.RolledBack)
    assert ("integrate.0", TERM) not in history.signals


def test_one_that_does_not_become_ready_in_time_has_it_taken_back():
    history = two_workers(start_timeout_s=5.0)
    history.reload("integrate", integrate=NEW)
    history.end("integrate.1")
    history.pass_time(6.0)
    history.end("integrate.1", -9)
    told = history.ready("integrate.1")
    assert isinstance(told[-1], act.RolledBack)
    assert "not ready within 5 s" in told[-1].why


def test_one_that_somebody_kills_as_it_starts_is_tried_again():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.1")
    history.end("integrate.1", -9)
    history.ready("integrate.1")
    assert isinstance(come_back(history, "integrate.0")[-1], act.Reloaded)


def test_one_that_is_killed_for_lack_of_memory_as_it_starts_has_it_taken_back():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.1")
    history.do(ev.ProcessEnded(name_of("integrate.1"), -9, Evidence(out_of_memory=True)))
    assert history.machine.reloading.is_rolling_back


def test_one_that_is_killed_again_and_again_until_it_is_failed_has_it_taken_back():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.0")
    history.end("integrate.0", -9)
    assert history.state("integrate.0") is State.STARTING
    assert isinstance(history.ready("integrate.0")[-1], act.RolledBack)


def test_values_with_which_nothing_starts_do_not_stop_a_chain_that_stops_on_failures():
    history = History(supervision=Supervision(on_failed="stop-chain")).all_ready()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.0")
    history.end("integrate.0", 78)
    history.ready("integrate.0")
    assert not history.machine.replicas.stopping
    assert history.machine.replicas.state is State.READY


def test_a_stage_that_is_failed_is_tried_with_the_new_values():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    history.end("integrate.0", 1)
    assert history.state("integrate.0") is State.FAILED
    history.reload("integrate", integrate=NEW)
    assert isinstance(history.ready("integrate.0")[-1], act.Reloaded)


def test_a_stage_that_is_stopped_stays_so_and_starts_with_the_new_values():
    history = two_workers()
    history.stop_stage("integrate")
    for name in ("integrate.1", "integrate.0"):
        history.end(name)
    assert isinstance(history.reload("integrate", integrate=NEW)[-1], act.Reloaded)
    assert history.state("integrate.0") is State.STOPPED
    assert factor(history, "integrate.0") == 2


def test_a_restart_that_failed_elsewhere_does_not_end_a_reload():
    history = two_workers()
    history.restart("patterns")
    history.reload("integrate", integrate=NEW)
    history.end("patterns.0")
    history.end("patterns.0", 78)
    history.do(ev.Tick())
    assert history.signals[-1] == ("integrate.1", TERM)
    come_back(history, "integrate.1")
    assert isinstance(come_back(history, "integrate.0")[-1], act.Reloaded)


def test_a_stop_of_the_chain_ends_it():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.stop()
    assert not history.machine.reloading.is_under_way
    assert history.machine.reloading.outcome == "stopped"
    assert history.reload("integrate", integrate=NEW) == []


def test_there_is_one_at_a_time():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    assert history.reload("integrate", integrate={"options": {"factor": 3}}) == []
    assert factor(history, "integrate.0") == 2


def test_the_history_does_not_repeat_the_chain():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    (line,) = [line for line in history.machine.history.lines() if "ReloadRequested" in line]
    assert "factor" not in line
    assert "restarts=('integrate',)" in line


def test_the_reason_says_how_it_ended():
    history = two_workers()
    history.reload("integrate", integrate=NEW)
    history.end("integrate.1")
    history.do(ev.ProcessEnded(name_of("integrate.1"), 78, Evidence(said="no file dark.tif")))
    assert history.machine.reloading.reason.endswith(
        "exited with 78 after 0.00 s: no file dark.tif"
    )
