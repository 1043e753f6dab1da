from arroyo.supervision.decisions.stop_schedule import (
    ABANDON_AFTER_S,
    KILL_AFTER_S,
    StopSchedule,
)


def test_without_a_stop_nothing_is_due():
    schedule = StopSchedule(30.0)
    assert schedule.next_at is None
    assert not schedule.is_cut_short


def test_a_stop_drains_is_cut_short_kills_and_gives_up_each_in_its_time():
    schedule = StopSchedule(30.0)
    schedule.begin(100.0)
    assert (schedule.next_at, schedule.is_cut_short) == (130.0, False)
    schedule.cut_short(130.0)
    assert (schedule.next_at, schedule.is_cut_short) == (130.0 + KILL_AFTER_S, True)
    assert not schedule.has_killed
    schedule.kill(140.0)
    assert (schedule.next_at, schedule.has_killed) == (140.0 + ABANDON_AFTER_S, True)


def test_a_second_signal_leaves_no_time_to_drain():
    schedule = StopSchedule(30.0)
    schedule.begin(100.0)
    schedule.cut_short(101.0)
    assert schedule.next_at == 101.0 + KILL_AFTER_S
