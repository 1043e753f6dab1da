import time

from arroyo.bench.stages.pacing import pace


def test_no_event_comes_before_it_is_due():
    begin = time.monotonic()
    times = [(index, time.monotonic() - begin) for index in pace(20, 0.001)]
    assert [index for index, _ in times] == list(range(20))
    assert all(at_s >= index * 0.001 - 1e-6 for index, at_s in times)


def test_who_is_late_does_not_wait_any_more():
    events = pace(1_000, 1e-6)
    begin = time.monotonic()
    next(events)
    while time.monotonic() < begin + 0.002:
        pass
    late_from = time.monotonic()
    assert list(events) == list(range(1, 1_000))
    assert time.monotonic() - late_from < 1.0
