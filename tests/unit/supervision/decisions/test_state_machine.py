import signal

import pytest
from supervised_histories import LINE, History, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import TRY_LATER_EXIT, Evidence
from arroyo.supervision.decisions.events import State

TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


def kinds(told):
    return [type(announcement) for announcement in told]


# Starting.


def test_all_stages_start_together_sinks_first():
    history = History()
    assert history.spawned == ["patterns.0", "integrate.0", "images.0"]


def test_no_more_import_at_once_than_allowed():
    history = History(limit=2)
    assert history.spawned == ["patterns.0", "integrate.0"]
    history.ready("integrate.0")
    assert history.spawned == ["patterns.0", "integrate.0", "images.0"]


def test_a_process_that_ends_while_importing_makes_room():
    history = History(limit=1)
    history.end("patterns.0", 1)
    assert history.spawned == ["patterns.0", "patterns.0"]
    history.end("patterns.0", 1)
    assert history.spawned == ["patterns.0", "patterns.0", "integrate.0"]


def test_the_chain_is_ready_once_when_every_replica_is():
    history = History()
    assert history.machine.replicas.state is State.STARTING
    told = history.ready("patterns.0", "integrate.0", "images.0")
    assert kinds(told)[-1] is act.ChainBecameReady
    assert history.machine.replicas.state is State.READY
    history.end("integrate.0", -9)
    assert history.machine.replicas.state is State.DEGRADED
    assert kinds(history.ready("integrate.0")) == [act.BecameReady]
    assert history.machine.replicas.state is State.READY


def test_ready_twice_is_ready_once():
    history = History()
    assert kinds(history.ready("images.0", "images.0")) == [act.BecameReady]


def test_a_stage_that_is_not_ready_in_time_is_killed_and_tried_again():
    history = History(images={"start_timeout_s": 5.0})
    history.pass_time(4.9)
    assert history.signals == []
    history.pass_time(0.2)
    assert history.signals == [("images.0", KILL)]
    (told,) = history.end("images.0", -9)
    assert told.ending.cause == "not ready within 5 s"
    assert history.state("images.0") is State.STARTING


def test_a_ready_that_comes_after_the_kill_is_too_late():
    history = History(images={"start_timeout_s": 5.0})
    history.pass_time(5)
    assert history.ready("images.0") == []
    assert history.state("images.0") is State.STARTING


def test_a_process_that_can_not_be_made_is_tried_again_later():
    history = History()
    history.end("images.0", -9)
    told = history.do(ev.StartFailed(name_of("images.0"), "Too many open files"))
    assert told[0].ending == act.Ending(0.0, None, "Too many open files")
    assert told[0].delay_s == 0.5
    assert history.state("images.0") is State.BACKOFF
    history.pass_time(0.6)
    assert history.state("images.0") is State.STARTING


# Restarts.


def test_a_killed_stage_starts_again_at_once():
    history = History().all_ready()
    (told,) = history.end("integrate.0", -9)
    assert told == act.WillRestart(name_of("integrate.0"), act.Ending(0.0, -9), 0.0, 1, 5)
    assert history.spawned[-1] == "integrate.0"
    assert history.machine.replicas[name_of("integrate.0")].restarts == 1


def test_each_further_restart_waits_longer():
    history = History().all_ready()
    delays = []
    for _ in range(5):
        (told,) = history.end("integrate.0", 1)
        delays.append(told.delay_s)
        history.pass_time(told.delay_s + 0.01)
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_a_minute_of_ready_forgives_everything():
    history = History().all_ready()
    for _ in range(4):
        history.end("integrate.0", 1)
        history.pass_time(5)
        history.ready("integrate.0")
    history.pass_time(60)
    (told,) = history.end("integrate.0", 1)
    assert (told.delay_s, told.attempt) == (0.0, 1)


def crash_until_failed(history, name="integrate.0", status=1):
    for _ in range(100):
        (told, *_) = history.end(name, status)
        if isinstance(told, act.GaveUp):
            return told
        history.pass_time(told.delay_s + 0.001)
    raise AssertionError("it is never given up")


def test_too_many_ends_in_the_window_are_held_and_tried_again_rarely():
    history = History().all_ready()
    told = crash_until_failed(history)
    assert told.retry_s == 300.0
    assert history.spawned.count("integrate.0") == 6
    assert history.state("integrate.0") is State.FAILED
    assert history.machine.replicas.state is State.DEGRADED
    history.pass_time(299)
    assert history.state("integrate.0") is State.FAILED
    history.pass_time(2)
    assert history.state("integrate.0") is State.STARTING


def test_one_failure_after_failed_is_enough_to_be_held_again():
    history = History().all_ready()
    crash_until_failed(history)
    history.pass_time(301)
    assert kinds(history.end("integrate.0", 1)) == [act.GaveUp]


def test_a_failed_stage_that_holds_out_is_as_good_as_new():
    history = History().all_ready()
    crash_until_failed(history)
    history.pass_time(301)
    history.ready("integrate.0")
    history.pass_time(61)
    assert kinds(history.end("integrate.0", 1)) == [act.WillRestart]


def test_ends_of_the_whole_chain_are_limited_too():
    supervision = Supervision(max_restarts=5, chain_max_restarts=6)
    history = History(supervision=supervision).all_ready()
    kinds_told = []
    for _ in range(4):
        for name in ("integrate.0", "patterns.0"):
            kinds_told += kinds(history.end(name, -9))
            history.pass_time(3)
            history.ready(name)
    assert kinds_told == [act.WillRestart] * 6 + [act.GaveUp] * 2


@pytest.mark.parametrize("status", [64, 78])
def test_a_permanent_error_is_never_tried_again(status):
    history = History().all_ready()
    (told,) = history.end("patterns.0", status)
    ending = act.Ending(0.0, status)
    assert told == act.GaveUp(name_of("patterns.0"), ending, None, until_changed=True)
    history.pass_time(10_000)
    assert history.state("patterns.0") is State.FAILED
    assert history.exit_code is None


def wait_often(history, name, times):
    """Exit with 75 so often; return how long each try was waited for."""
    delays = []
    for _ in range(times):
        (told,) = history.end(name, 75)
        assert isinstance(told, act.WillRetry)
        delays.append(told.delay_s)
        history.pass_time(told.delay_s + 0.001)
    return delays


def test_what_is_away_is_waited_for_as_long_as_it_takes():
    history = History().all_ready()
    delays = wait_often(history, "patterns.0", 50)
    assert delays[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 30.0
    history.ready("patterns.0")
    assert history.machine.replicas.state is State.READY


def test_to_wait_is_no_failure_of_the_stage_or_of_the_chain():
    supervision = Supervision(max_restarts=0, chain_max_restarts=0)
    history = History(supervision=supervision).all_ready()
    wait_often(history, "patterns.0", 20)
    assert act.GaveUp not in kinds(history.told)


def test_a_minute_of_ready_makes_the_next_wait_short_again():
    history = History().all_ready()
    wait_often(history, "patterns.0", 5)
    history.ready("patterns.0")
    history.pass_time(61)
    assert wait_often(history, "patterns.0", 1) == [0.0]


def test_a_stop_starts_what_waits_at_once_so_that_the_queue_drains():
    history = History().all_ready()
    wait_often(history, "patterns.0", 10)
    history.end("patterns.0", 75)
    assert history.state("patterns.0") is State.BACKOFF
    history.stop()
    assert history.state("patterns.0") is State.STARTING
    (told,) = history.end("patterns.0", 75)
    assert told.delay_s == 1.0  # the drain has no time for 30 s
    history.pass_time(1)
    history.ready("patterns.0")
    finish(history, "images.0", "integrate.0", "patterns.0")
    assert history.exit_code == 0


def test_a_corrected_file_brings_back_a_stage_that_failed_for_its_configuration():
    history = History().all_ready()
    (told,) = history.end("patterns.0", 78)
    assert told.until_changed
    assert history.machine.awaiting_correction == [name_of("patterns.0")]
    told = history.do(ev.Corrected(name_of("patterns.0"), "own.py"))
    assert told == [act.TriesAgain(name_of("patterns.0"), "own.py")]
    assert history.state("patterns.0") is State.STARTING
    history.end("patterns.0", 78)  # corrected, but not enough
    assert history.machine.awaiting_correction == [name_of("patterns.0")]
    history.do(ev.Corrected(name_of("patterns.0"), "own.py"))
    history.ready("patterns.0")
    assert history.machine.replicas.state is State.READY


def test_a_corrected_file_changes_nothing_for_other_failures_or_in_a_stop():
    history = History(patterns={"restart": "never"}).all_ready()
    history.end("patterns.0", 78)
    crash_until_failed(history)
    assert history.machine.awaiting_correction == []
    history = History().all_ready()
    history.end("patterns.0", 78)
    history.stop()
    assert history.do(ev.Corrected(name_of("patterns.0"), "own.py")) == []
    assert history.state("patterns.0") is State.FAILED


def test_a_permanent_error_at_start_ends_the_chain_with_its_code():
    history = History()
    history.ready("patterns.0", "integrate.0")
    told = history.end("images.0", 78)
    assert kinds(told) == [act.GaveUp, act.Draining]
    assert history.signals == [("integrate.0", TERM), ("patterns.0", TERM)]
    history.end("integrate.0")
    assert history.exit_code is None
    history.end("patterns.0")
    assert history.exit_code == 78


def test_never_means_never():
    history = History(integrate={"restart": "never"}).all_ready()
    (told,) = history.end("integrate.0", 1)
    assert told.retry_s is None
    history.pass_time(10_000)
    assert history.state("integrate.0") is State.FAILED


def test_an_exit_with_0_that_nobody_wanted_is_a_failure():
    history = History().all_ready()
    assert kinds(history.end("integrate.0", 0)) == [act.WillRestart]


def test_on_failed_can_stop_the_chain():
    supervision = Supervision(max_restarts=0, on_failed="stop-chain")
    history = History(supervision=supervision).all_ready()
    assert kinds(history.end("integrate.0", 1)) == [act.GaveUp, act.Draining]
    history.end("images.0")
    history.idle("patterns.0", since=0)
    history.pass_time(2)
    history.idle("patterns.0", since=0)
    history.end("patterns.0")
    assert history.exit_code == 1


# Finishing by itself.


def finish(history, *names):
    for name in names:
        history.stopping(name)
    for name in names:
        history.end(name)


def test_a_finite_chain_ends_well():
    history = History().all_ready()
    finish(history, "images.0", "integrate.0", "patterns.0")
    assert history.exit_code == 0
    assert kinds(history.told).count(act.Finished) == 3


def test_a_stage_may_end_before_the_one_above_that_told_it_to():
    history = History().all_ready()
    for name in ("images.0", "integrate.0", "patterns.0"):
        history.stopping(name)
    for name in ("patterns.0", "integrate.0", "images.0"):
        history.end(name)
    assert history.exit_code == 0
    assert act.WillRestart not in kinds(history.told)


def test_a_listener_that_always_restarts_does_not_finish():
    history = History(images={"restart": "always"}).all_ready()
    assert kinds(history.end("images.0")) == [act.WillRestart]


def test_a_stage_that_missed_the_end_is_told_once_it_is_idle():
    history = History().all_ready()
    history.end("integrate.0", -9)
    finish(history, "images.0")
    history.ready("integrate.0")
    assert history.machine.awaiting_end == [name_of("integrate.0")]
    history.idle("integrate.0")
    history.pass_time(1.9)
    history.idle("integrate.0", since=history.now - 1.9)
    assert history.signals == []
    history.pass_time(0.1)
    history.idle("integrate.0", since=history.now - 2)
    assert history.signals == [("integrate.0", TERM)]
    history.end("integrate.0")
    history.stopping("patterns.0")
    history.end("patterns.0")
    assert history.exit_code == 0


def test_a_stage_that_was_told_and_does_not_end_is_killed_and_named():
    history = History().all_ready()
    finish(history, "images.0")
    history.pass_time(2)
    history.idle("integrate.0", since=0)
    told = history.pass_time(30)
    assert told == [act.Killed(name_of("integrate.0"), "it did not end in time")]
    history.end("integrate.0", -9)
    finish(history, "patterns.0")
    assert history.exit_code == 1


def test_stages_below_one_that_comes_back_come_back_too():
    history = History().all_ready()
    history.stopping("integrate.0")
    assert kinds(history.end("patterns.0")) == [act.Finished]
    history.end("integrate.0")
    assert history.spawned[-2:] == ["integrate.0", "patterns.0"]
    assert history.state("patterns.0") is State.STARTING


def test_a_chain_that_finished_without_a_failed_stage_does_not_end_well():
    links = {**LINE, "live": ("integrate",)}
    history = History(links, live={"restart": "never"}).all_ready()
    history.end("live.0", 1)
    finish(history, "images.0", "integrate.0", "patterns.0")
    assert history.exit_code == 1


def test_a_failed_listener_keeps_the_chain():
    links = {"one": (), "two": (), "sink": ("one", "two")}
    history = History(links, one={"restart": "never"}).all_ready()
    history.end("one.0", 1)
    finish(history, "two.0")
    history.pass_time(100)
    assert history.exit_code is None
    assert history.machine.awaiting_end == []


def test_an_exit_with_0_is_no_end_of_the_work_unless_the_stage_said_stopping():
    history = History().all_ready()
    history.stopping("images.0")  # drains: from now on a stage below may end
    assert kinds(history.end("integrate.0", 0)) == [act.WillRestart]
    history.ready("integrate.0")
    finish(history, "images.0", "integrate.0", "patterns.0")
    assert history.exit_code == 0


def test_a_listener_that_exits_with_0_in_mid_work_has_not_finished():
    history = History().all_ready()
    assert kinds(history.end("images.0", 0)) == [act.WillRestart]


@pytest.mark.parametrize(("phase", "told"), [("PROCESS", act.WillRestart), ("ENDED", act.Finished)])
def test_the_status_page_says_how_far_a_process_came_that_exits_with_0(phase, told):
    history = History().all_ready()
    finish(history, "images.0")
    if phase == "PROCESS":
        history.stopping("integrate.0")  # and then worked on what was left
    ended = ev.ProcessEnded(name_of("integrate.0"), 0, Evidence(phase=phase))
    assert kinds(history.do(ended))[0] is told


@pytest.mark.parametrize(
    ("phase", "told"),
    [("DRAIN", act.EndedBadly), ("ENDED", act.EndedBadly), ("IDLE", act.WillRestart)],
)
def test_a_stage_that_hung_after_its_work_does_not_do_it_again(phase, told):
    history = History().all_ready()
    finish(history, "images.0")
    history.stopping("integrate.0")
    hung = Evidence(phase=phase, hung="hung in close() for 30 s")
    ended = ev.ProcessEnded(name_of("integrate.0"), -signal.SIGKILL, hung)
    assert kinds(history.do(ended))[0] is told


@pytest.mark.parametrize(
    ("phase", "status", "told"),
    [
        ("ENDED", 70, act.EndedBadly),
        ("ENDED", TRY_LATER_EXIT, act.WillRetry),
        ("ENDED", -signal.SIGSEGV, act.EndedBadly),
        ("ENDED", -signal.SIGKILL, act.WillRestart),
        ("CLOSED", 70, act.WillRestart),
    ],
)
def test_a_stage_that_failed_after_its_work_does_not_do_it_again(phase, status, told):
    history = History().all_ready()
    finish(history, "images.0")
    history.stopping("integrate.0")
    ended = ev.ProcessEnded(name_of("integrate.0"), status, Evidence(phase=phase))
    assert kinds(history.do(ended))[0] is told


@pytest.mark.parametrize("status", [70, TRY_LATER_EXIT])
def test_a_listener_that_failed_after_its_work_does_not_begin_anew(status):
    history = History().all_ready()
    history.stopping("images.0")
    ended = ev.ProcessEnded(name_of("images.0"), status, Evidence(phase="ENDED"))
    assert kinds(history.do(ended))[0] is act.EndedBadly


def test_a_listener_that_exits_with_0_in_mid_drain_is_named():
    history = History().all_ready()
    history.stop()
    assert kinds(history.end("images.0", 0)) == [act.EndedBadly]


# Stopping.


def test_a_stop_goes_down_level_by_level():
    history = History().all_ready()
    assert kinds(history.stop()) == [act.Draining]
    assert history.signals == [("images.0", TERM)]
    assert history.machine.replicas.state is State.DRAINING
    history.end("images.0")
    assert history.signals == [("images.0", TERM), ("integrate.0", TERM)]
    history.end("integrate.0")
    history.end("patterns.0")
    assert history.exit_code == 0
    assert history.signals == [(f"{name}.0", TERM) for name in LINE]
    assert act.WillRestart not in kinds(history.told)


def test_before_anything_flows_a_stop_goes_to_all():
    history = History()
    history.ready("patterns.0")
    history.stop()
    assert sorted(history.signals) == [(f"{name}.0", TERM) for name in sorted(LINE)]
    history.end("images.0", -TERM)
    history.end("integrate.0", -TERM)
    history.end("patterns.0")
    assert history.exit_code == 0


def test_what_waits_for_its_restart_is_not_started_for_a_stop():
    history = History()
    history.end("images.0", 1)
    history.end("images.0", 1)
    assert history.state("images.0") is State.BACKOFF
    history.stop()
    assert history.state("images.0") is State.STOPPED
    history.end("integrate.0", -TERM)
    history.end("patterns.0", -TERM)
    assert history.exit_code == 1
    assert history.reasons == ("images.0 had ended badly and did not come back",)
    assert history.spawned.count("images.0") == 2


def test_a_stop_while_a_stage_waits_for_something_outside_is_no_trouble():
    history = History()
    history.end("images.0", 75)
    history.end("images.0", 75)
    history.stop()
    history.end("integrate.0", -TERM)
    history.end("patterns.0", -TERM)
    assert history.exit_code == 0


def test_what_is_in_flight_may_need_a_stage_that_dies_in_the_drain():
    history = History().all_ready()
    history.stop()
    assert kinds(history.end("integrate.0", -9)) == [act.WillRestart]
    history.ready("integrate.0")
    for name in ("images.0", "integrate.0", "patterns.0"):
        history.end(name)
    assert history.exit_code == 0


def test_a_listener_that_dies_in_the_drain_stays_dead_and_is_named():
    history = History().all_ready()
    history.stop()
    assert kinds(history.end("images.0", -9)) == [act.EndedBadly]
    history.pass_time(2)
    history.idle("integrate.0", since=0)
    assert history.signals[-1] == ("integrate.0", TERM)
    history.end("integrate.0")
    history.stopping("patterns.0")
    history.end("patterns.0")
    assert history.exit_code == 1


def test_a_starting_stage_that_nothing_can_reach_any_more_is_let_go():
    history = History().all_ready()
    history.end("integrate.0", -9)
    history.stop()
    history.end("images.0")
    assert history.signals == [("images.0", TERM), ("integrate.0", TERM)]


def test_at_the_deadline_everything_left_is_told_then_killed():
    history = History(supervision=Supervision(stop_timeout_s=10.0)).all_ready()
    history.stop()
    history.end("images.0")
    assert history.signals[1:] == [("integrate.0", TERM)]
    told = history.pass_time(10)
    assert told == [
        act.CutShort((name_of("integrate.0"), name_of("patterns.0")), "the stop timeout of 10 s")
    ]
    assert history.signals[2:] == [("integrate.0", TERM), ("patterns.0", TERM)]
    history.end("integrate.0")
    assert history.pass_time(2) == [act.Killed(name_of("patterns.0"), "it did not end in time")]
    assert history.signals[-1] == ("patterns.0", KILL)
    history.end("patterns.0", -9)
    assert history.exit_code == 1


def test_a_second_signal_stops_now():
    history = History().all_ready()
    history.stop()
    assert kinds(history.stop()) == [act.CutShort]
    assert history.signals[1:] == [(f"{name}.0", TERM) for name in LINE]
    assert history.stop() == []
    for name in LINE:
        history.end(f"{name}.0")
    assert history.exit_code == 1


def test_what_can_not_be_killed_is_left_behind():
    history = History().all_ready()
    history.stop()
    history.stop()
    history.pass_time(2 + 5)
    assert history.exit_code == 1
    assert history.machine.next_at is None


def test_nothing_starts_after_a_stop_was_cut_short():
    history = History().all_ready()
    history.stop()
    history.stop()
    spawned = list(history.spawned)
    history.end("integrate.0", 1)
    history.pass_time(1)
    assert history.spawned == spawned


def test_a_failed_stage_is_not_tried_in_a_stop():
    history = History().all_ready()
    crash_until_failed(history)
    history.pass_time(299)
    history.stop()
    spawned = list(history.spawned)
    history.pass_time(10)
    assert history.spawned == spawned


def test_a_finished_chain_takes_no_notice():
    history = History().all_ready()
    finish(history, "images.0", "integrate.0", "patterns.0")
    assert history.stop() == []
    assert history.ready("images.0") == []


@pytest.mark.parametrize("event", [ev.Ready, ev.Stopping])
def test_words_of_a_dead_replica_change_nothing(event):
    history = History(images={"restart": "never"}).all_ready()
    history.end("images.0", 1)
    history.do(event(name_of("images.0")))
    assert history.state("images.0") is State.FAILED


def test_all_failed_is_a_failed_chain():
    history = History(supervision=Supervision(max_restarts=0)).all_ready()
    for name in LINE:
        history.end(f"{name}.0", 1)
    assert history.machine.replicas.state is State.FAILED
    assert history.exit_code is None


def test_a_chain_whose_folder_was_removed_stops_in_order_and_says_why():
    history = History().all_ready()
    (told,) = history.do(ev.FolderRemoved("/run/arroyo/powder"))
    assert told.by == "the removal of its run directory /run/arroyo/powder"
    assert history.signals == [("images.0", TERM)]
    assert history.do(ev.FolderRemoved("/run/arroyo/powder")) == []
    for name in ("images.0", "integrate.0", "patterns.0"):
        history.end(name)
    assert history.exit_code == 1
    assert history.reasons == ("its run directory /run/arroyo/powder was removed under it",)


# Its history.


def test_it_tells_what_it_heard_and_did_last():
    history = History({"images": ()})
    history.now += 1
    history.ready("images.0")
    history.do(ev.Tick())
    history.now += 1
    history.end("images.0", -9)
    assert history.machine.history.lines() == [
        "1000.000 s    images.0 Spawn",
        "1000.000 s  images.0 ProcessStarted pid=1",
        "1001.000 s  images.0 Ready",
        "1001.000 s    images.0 BecameReady took_s=1.000",
        "1001.000 s    ChainBecameReady took_s=1.000",
        "1002.000 s  images.0 ProcessEnded status=-9",
        "1002.000 s    images.0 WillRestart after_s=2.000 status=-9 delay_s=0.000 "
        "attempt=1 limit=5",
        "1002.000 s    images.0 Spawn",
        "1002.000 s  images.0 ProcessStarted pid=2",
    ]
