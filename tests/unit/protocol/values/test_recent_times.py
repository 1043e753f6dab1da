from arroyo.protocol.values.recent_times import RecentTimes


def test_times_count_while_they_are_in_the_window():
    recent = RecentTimes(within_s=10.0)
    assert [recent.note(now) for now in (0.0, 5.0, 10.0, 10.5, 100.0)] == [1, 2, 3, 3, 1]


def test_forgotten_times_do_not_count():
    recent = RecentTimes(within_s=10.0)
    recent.note(0.0)
    recent.forget()
    assert recent.note(0.1) == 1


def test_the_window_may_change():
    recent = RecentTimes(10.0)
    recent.note(0.0)
    recent.within_s = 5.0
    assert recent.note(6.0) == 1
