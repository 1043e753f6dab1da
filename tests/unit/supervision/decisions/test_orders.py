import signal

import pytest
from supervised_histories import History, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.events import State

TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


def two_workers(**settings):
    return History(integrate={"replicas": 2, **settings}).all_ready()


def kinds(told):
    return [type(announcement) for announcement in told]


def come_back(history, name):
    """End a process that was told to, and let the next one become READY."""
    told = history.end(name)
    return told + history.ready(name)


def test_replicas_of_a_stage_are_restarted_one_after_the_other():
    history = two_workers()
    told = history.restart("integrate")
    assert told == [act.RestartsOnRequest(name_of("integrate.1"), "a restart command")]
    assert history.signals == [("integrate.1", TERM)]
    history.end("integrate.1")
    assert history.spawned[-1] == "integrate.1"
    assert history.signals == [("integrate.1", TERM)], "not before the first one is READY"
    history.ready("integrate.1")
    assert history.signals == [("integrate.1", TERM), ("integrate.0", TERM)]
    come_back(history, "integrate.0")
    assert history.machine.replicas.state is State.READY
    assert len(history.signals) == 2


def test_a_restart_is_no_failure_and_is_not_counted_as_one():
    history = two_workers()
    history.restart("integrate.0")
    told = come_back(history, "integrate.0")
    assert kinds(told) == [act.BecameReady]
    replica = history.machine.replicas[name_of("integrate.0")]
    assert (replica.restarts, replica.failures) == (0, 0)
    history.end("integrate.0", -11)
    assert replica.restarts == 1


def test_all_of_a_chain_are_restarted_sinks_first():
    history = History().all_ready()
    history.restart()
    for name in ("patterns.0", "integrate.0", "images.0"):
        assert history.signals[-1] == (name, TERM)
        come_back(history, name)
    assert history.machine.replicas.state is State.READY
    assert history.exit_code is None


def test_a_listener_that_is_restarted_does_not_end_the_chain():
    history = History().all_ready()
    history.restart("images")
    history.end("images.0")
    assert history.state("images.0") is State.STARTING
    assert history.signals == [("images.0", TERM)]


def test_one_that_does_not_end_is_killed_and_starts_again():
    history = two_workers()
    history.restart("integrate.0")
    history.pass_time(history.chain.supervision.stop_timeout_s + 0.1)
    assert history.signals[-1] == ("integrate.0", KILL)
    history.end("integrate.0", -9)
    assert history.state("integrate.0") is State.STARTING


def test_a_failed_one_is_tried_again_now():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    history.end("integrate.0", 1)
    assert history.state("integrate.0") is State.FAILED
    assert kinds(history.restart("integrate")) == [act.RestartsOnRequest]
    assert history.state("integrate.0") is State.STARTING
    assert history.signals == []


def test_one_that_waits_for_its_restart_is_started_now():
    history = History().all_ready()
    history.end("integrate.0", 1)
    history.end("integrate.0", 1)
    assert history.state("integrate.0") is State.BACKOFF
    history.restart("integrate")
    assert history.state("integrate.0") is State.STARTING


def test_one_that_fails_after_its_restart_leaves_the_others_as_they_are():
    history = two_workers(restart="never")
    history.restart("integrate")
    history.end("integrate.1")
    told = history.end("integrate.1", 78)
    assert told[-1] == act.RestartsGivenUp(name_of("integrate.1"), (name_of("integrate.0"),))
    assert history.state("integrate.0") is State.READY
    assert history.signals == [("integrate.1", TERM)]


def test_one_that_has_finished_is_left_alone():
    history = History().all_ready()
    history.end("images.0")
    assert history.restart("images") == []
    assert history.state("images.0") is State.STOPPED


def test_a_stop_wins():
    history = two_workers()
    history.restart("integrate")
    history.stop()
    history.end("integrate.1")
    assert history.state("integrate.1") is State.STARTING, "what is in flight needs it"
    history.ready("integrate.1")
    assert ("integrate.0", TERM) not in history.signals
    assert history.restart("integrate") == []
    history.end("images.0")
    history.end("integrate.0")
    history.end("integrate.1")
    history.end("patterns.0")
    assert history.exit_code == 0


def test_a_listener_that_drains_for_its_restart_is_not_stopped_short_by_a_stop():
    history = History().all_ready()
    history.restart("images")
    history.stop()
    assert history.signals == [("images.0", TERM)], "a second signal would stop it now"
    history.end("images.0")
    assert history.state("images.0") is State.STOPPED


def test_one_that_waits_for_room_to_start_is_left_alone():
    history = History(limit=1)
    assert history.restart("images") == []
    assert history.spawned == ["patterns.0"]


def test_asking_again_meanwhile_restarts_nothing_twice():
    history = two_workers()
    history.restart("integrate")
    history.restart("integrate")
    come_back(history, "integrate.1")
    come_back(history, "integrate.0")
    assert len(history.signals) == 2


def test_the_history_names_who_asked():
    history = two_workers()
    history.restart("integrate")
    assert any(
        "RestartRequested target=integrate by=a restart command" in line
        for line in history.machine.history.lines()
    )


# Stop and start.


def test_a_stage_that_is_stopped_drains_and_stays_so():
    history = two_workers()
    told = history.stop_stage("integrate")
    assert told == [
        act.StopsOnRequest(name_of(f"integrate.{replica}"), "a stop command") for replica in (1, 0)
    ]
    assert history.signals == [("integrate.1", TERM), ("integrate.0", TERM)]
    assert history.end("integrate.1") == [act.StoppedOnRequest(name_of("integrate.1"))]
    history.end("integrate.0")
    history.pass_time(1000)
    assert history.state("integrate.0") is State.STOPPED
    assert history.machine.replicas.state is State.DEGRADED
    assert history.spawned.count("integrate.0") == 1
    assert history.exit_code is None


def test_it_comes_back_when_it_is_started():
    history = two_workers()
    history.stop_stage("integrate.1")
    history.end("integrate.1")
    assert history.machine.replicas.state is State.READY, "all that is wanted works"
    told = history.start_stage("integrate.1")
    assert told == [act.StartsOnRequest(name_of("integrate.1"), "a start command")]
    history.ready("integrate.1")
    assert history.machine.replicas.state is State.READY
    replica = history.machine.replicas[name_of("integrate.1")]
    assert (replica.restarts, replica.failures) == (0, 0)


def test_the_last_order_wins():
    history = two_workers()
    history.stop_stage("integrate.0")
    history.start_stage("integrate.0")
    history.end("integrate.0")
    assert history.state("integrate.0") is State.STARTING
    history.stop_stage("integrate.0")
    history.start_stage("integrate.0")
    history.stop_stage("integrate.0")
    history.end("integrate.0", -15)
    assert history.state("integrate.0") is State.STOPPED
    assert history.signals == [("integrate.0", TERM)] * 2, "a second signal would cut it short"


def test_a_stop_takes_a_stage_out_of_a_restart():
    history = two_workers()
    history.restart("integrate")
    history.stop_stage("integrate")
    assert history.signals == [("integrate.1", TERM), ("integrate.0", TERM)]
    history.end("integrate.1")
    history.end("integrate.0")
    assert history.state("integrate.1") is history.state("integrate.0") is State.STOPPED
    history.start_stage("integrate")
    history.ready("integrate.1", "integrate.0")
    assert len(history.signals) == 2


def test_a_restart_leaves_alone_what_is_stopped():
    history = two_workers()
    history.stop_stage("integrate.0")
    history.restart("integrate")
    history.end("integrate.0")
    assert history.state("integrate.0") is State.STOPPED
    assert history.signals == [("integrate.0", TERM), ("integrate.1", TERM)]


def test_one_that_dies_while_it_is_stopped_has_not_failed():
    history = two_workers()
    history.stop_stage("integrate.0")
    told = history.end("integrate.0", -11)
    assert kinds(told) == [act.EndedBadly, act.StoppedOnRequest]
    assert history.machine.replicas[name_of("integrate.0")].failures == 0


def test_one_that_does_not_stop_is_killed():
    history = two_workers()
    history.stop_stage("integrate.0")
    history.pass_time(history.chain.supervision.stop_timeout_s + 0.1)
    assert history.signals[-1] == ("integrate.0", KILL)
    assert kinds(history.end("integrate.0", -9)) == [act.StoppedOnRequest]


def test_a_listener_is_not_killed_since_all_it_has_sent_is_in_flight():
    history = History().all_ready()
    history.stop_stage("images")
    history.pass_time(1000)
    assert history.signals == [("images.0", TERM)]
    history.end("images.0")
    assert history.state("images.0") is State.STOPPED
    history.pass_time(1000)
    assert history.exit_code is None, "the rest stays up"
    assert history.state("patterns.0") is State.READY
    history.start_stage("images")
    assert history.state("images.0") is State.STARTING


def test_a_listener_that_has_finished_before_it_was_told_has_finished():
    history = History().all_ready()
    history.stopping("images.0")
    history.stop_stage("images")
    assert kinds(history.end("images.0", 0)) == [act.Finished]
    for name in ("integrate.0", "patterns.0"):
        history.end(name)
    assert history.exit_code == 0


def test_what_is_stopped_below_listeners_that_have_finished_does_not_keep_the_chain():
    history = two_workers()
    history.stop_stage("integrate")
    history.end("integrate.0")
    history.end("integrate.1")
    history.end("images.0")
    history.idle("patterns.0")
    history.pass_time(3)
    history.idle("patterns.0", since=0.0)
    history.end("patterns.0")
    assert history.exit_code == 0


def test_one_that_is_stopped_and_has_nothing_above_it_any_more_has_finished():
    history = two_workers()
    history.end("images.0")
    history.stop_stage("integrate")
    assert kinds(history.end("integrate.0") + history.end("integrate.1")) == [act.Finished] * 2
    history.end("patterns.0")
    assert history.exit_code == 0


def test_a_stop_of_the_chain_leaves_stopped_what_is_and_says_so():
    history = two_workers()
    history.stop_stage("integrate.0")
    history.end("integrate.0")
    (draining,) = history.stop()
    assert draining.held == (name_of("integrate.0"),)
    for name in ("images.0", "integrate.1", "patterns.0"):
        history.end(name)
    assert history.exit_code == 0
    assert history.spawned.count("integrate.0") == 1


def test_what_is_in_flight_can_be_finished_while_the_chain_is_being_stopped():
    history = two_workers()
    history.stop_stage("integrate")
    history.end("integrate.0")
    history.end("integrate.1")
    history.stop()
    history.end("patterns.0")
    assert history.start_stage("images") == history.stop_stage("images") == []
    history.start_stage("integrate")
    assert sorted(history.spawned[-3:]) == ["integrate.0", "integrate.1", "patterns.0"]
    history.ready("integrate.1", "integrate.0", "patterns.0")
    for name in ("images.0", "integrate.0", "integrate.1", "patterns.0"):
        history.end(name)
    assert history.exit_code == 0


def test_but_not_once_it_is_to_stop_now():
    history = two_workers()
    history.stop_stage("integrate.0")
    history.end("integrate.0")
    history.stop()
    history.stop()
    assert history.start_stage("integrate.0") == []


def test_a_listener_that_drains_is_not_stopped_short_by_a_stop_of_the_chain():
    history = History().all_ready()
    history.stop_stage("images")
    history.stop()
    assert history.signals == [("images.0", TERM)]


def test_a_stop_before_the_first_ready_does_not_keep_the_chain_from_being_it():
    history = History()
    history.stop_stage("integrate")
    history.ready("patterns.0", "images.0")
    assert history.machine.replicas.was_ready
    history.end("integrate.0", -15)
    assert history.state("integrate.0") is State.STOPPED


def test_a_failed_stage_is_tried_again_at_once_or_put_to_rest():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    history.end("integrate.0", 1)
    assert kinds(history.start_stage("integrate")) == [act.StartsOnRequest]
    assert history.state("integrate.0") is State.STARTING
    history.end("integrate.0", 1)
    told = history.stop_stage("integrate")
    assert kinds(told) == [act.StopsOnRequest, act.StoppedOnRequest]
    history.pass_time(1000)
    assert history.state("integrate.0") is State.STOPPED


def test_what_runs_is_not_started_and_what_has_finished_is_left_alone():
    history = History().all_ready()
    assert history.start_stage("") == []
    history.end("images.0")
    assert history.start_stage("images") == history.stop_stage("images") == []


def test_a_stage_that_is_scaled_down_stays_so_over_a_stop_and_a_start():
    history = two_workers()
    history.scale("integrate", 1)
    assert history.signals == [("integrate.1", TERM)]
    history.end("integrate.1")
    history.stop_stage("integrate")
    history.end("integrate.0")
    history.start_stage("")
    assert history.state("integrate.0") is State.STARTING
    assert history.state("integrate.1") is State.STOPPED


@pytest.mark.parametrize(
    "start",
    [
        lambda history: history.start_stage("integrate.1"),
        lambda history: history.scale("integrate", 2),
    ],
)
def test_a_spare_replica_starts_by_its_own_name_or_when_its_stage_is_scaled_up(start):
    history = two_workers()
    history.scale("integrate", 1)
    history.end("integrate.1")
    start(history)
    assert history.state("integrate.1") is State.STARTING


def test_a_spare_replica_keeps_nothing_from_being_finished():
    history = two_workers()
    history.scale("integrate", 1)
    history.end("integrate.1")
    (draining,) = history.stop()
    assert draining.held == ()
