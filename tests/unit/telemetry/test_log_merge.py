from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from arroyo.telemetry.log_merge import LogMerge
from arroyo.telemetry.logs import LogLine

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def line(second, stage="a.0", message=""):
    time = BEGIN + timedelta(seconds=second)
    return LogLine(time, "INFO", "test", "chain", stage, 1, message)


def logs_of(seconds):
    """A log for each name; the message of a line is its place in the log."""
    return {
        name: [line(second, name, str(at)) for at, second in enumerate(column)]
        for name, column in seconds.items()
    }


def in_rounds(merge, rounds):
    """What the merge gives for what came in each round, and for two rounds without anything."""
    given = [found for each in rounds for found in merge.add(each)]
    return [*given, *merge.add({}), *merge.add({})]


NAMES = st.sampled_from(["a.0", "a.1", "b.0", "supervisor"])
SECONDS = st.dictionaries(NAMES, st.lists(st.integers(0, 20), max_size=12))


def places(lines, name):
    return [int(each.message) for each in lines if each.stage == name]


@given(SECONDS, st.data())
def test_no_line_is_lost_or_doubled_and_those_of_a_log_stay_in_order(seconds, data):
    logs = logs_of(seconds)
    merge = LogMerge()
    split = {name: data.draw(st.integers(0, len(log))) for name, log in logs.items()}
    first = list(merge.merge({name: log[: split[name]] for name, log in logs.items()}))
    rounds = [{name: log[split[name] :]} for name, log in logs.items()]
    merged = first + in_rounds(merge, rounds)
    assert Counter(each.stage for each in merged) == Counter(
        {name: len(log) for name, log in logs.items() if log}
    )
    for name, log in logs.items():
        assert places(merged, name) == list(range(len(log)))


@given(SECONDS)
def test_logs_whose_clock_was_not_set_are_in_order_of_time(seconds):
    logs = logs_of({name: sorted(column) for name, column in seconds.items()})
    merged = list(LogMerge().merge(logs))
    assert [each.time for each in merged] == sorted(each.time for each in merged)


@given(SECONDS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_line_that_is_read_a_round_late_is_still_in_its_place(seconds, late):
    """A round is 5 s here; each log is read that much before the end of its round."""
    logs = logs_of({name: sorted(column) for name, column in seconds.items()})
    behind = dict(zip(sorted(logs), late, strict=False))
    rounds = []
    for end in range(5, 31, 5):
        rounds.append({})
        for name, log in logs.items():
            until = BEGIN + timedelta(seconds=end - behind[name])
            rounds[-1][name] = [each for each in log if each.time < until]
            logs[name] = log[len(rounds[-1][name]) :]
    merged = in_rounds(LogMerge(), rounds)
    assert len(merged) == sum(map(len, seconds.values()))
    assert [each.time for each in merged] == sorted(each.time for each in merged)


def test_a_clock_that_was_set_back_holds_up_no_line():
    merge = LogMerge()
    assert list(merge.merge({"a.0": [line(3600)]}))
    merge.add({"a.0": [line(5)], "b.0": [line(6, "b.0")]})
    assert [each.stage for each in merge.add({})] == ["b.0", "a.0"]


def test_long_logs_are_not_read_ahead():
    read = []

    def long_log():
        for second in range(1000):
            read.append(second)
            yield line(second)

    merged = LogMerge().merge({"a.0": long_log(), "b.0": [line(0, "b.0")]})
    next(merged)
    assert len(read) < 5
