import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_snapshots import DOWN, ROW, histogram

from arroyo.supervision.live.figures import Figures, Reading, figures_of, together
from arroyo.telemetry.histogram import BUCKETS

WORK = {**ROW, "stage": "work", "replica": 0, "role": "operator", "inputs": {"images": 0}}


def reading(*latencies_s, **changes):
    return Reading({**WORK, **changes}, histogram(*latencies_s))


def test_rates_are_what_was_counted_over_the_time():
    before = reading(received=100, sent=90, bytes_in=2**20, inputs={"images": 100})
    after = reading(received=300, sent=190, bytes_in=9 * 2**20, inputs={"images": 300})
    figures = figures_of(before, after, 2.0)
    assert (figures.received_per_s, figures.sent_per_s, figures.mebibytes_per_s) == (100, 50, 4)
    assert figures.inputs_per_s == {"images": 100}


def test_shares_are_of_the_interval_and_not_of_the_whole_life():
    before = reading(busy_s=100.0, idle_s=3.0, blocked_s=0.0, cpu_s=50.0)
    after = reading(busy_s=100.5, idle_s=3.5, blocked_s=1.0, cpu_s=51.0)
    figures = figures_of(before, after, 2.0)
    assert (figures.busy, figures.idle, figures.blocked, figures.cpu) == (0.25, 0.25, 0.5, 0.5)


def test_a_listener_is_only_known_to_be_blocked():
    changes = {"role": "listener", "inputs": {}}
    figures = figures_of(reading(**changes), reading(**changes, idle_s=1.0, blocked_s=1.0), 2.0)
    assert (figures.busy, figures.idle, figures.blocked) == (None, None, 0.5)


def test_latencies_are_those_of_the_interval():
    before = reading(*[0.001] * 1000)
    after = reading(*[0.001] * 1000, 2.0, 2.0, 2.0)
    figures = figures_of(before, after, 1.0)
    assert figures.latency_s(0.5) == pytest.approx(2.0, rel=1 / 16)
    assert sum(figures.latency_counts) == 3


def test_another_process_has_counted_from_zero():
    before = reading(0.001, received=1000, cpu_s=30.0, busy_s=20.0)
    after = reading(2.0, received=40, cpu_s=1.0, busy_s=0.5, incarnation=2, restarts=1)
    figures = figures_of(before, after, 2.0)
    assert (figures.received_per_s, figures.cpu, figures.busy) == (20, 0.5, 0.25)
    assert figures.latency_s(0.5) == pytest.approx(2.0, rel=1 / 16)
    assert figures.restarts == 1


def test_a_process_of_the_same_incarnation_is_another_one():
    figures = figures_of(reading(received=50), reading(received=60, pid=4712), 1.0)
    assert figures.received_per_s == 60


def test_what_ran_only_at_the_end_has_counted_since():
    figures = figures_of(reading(**DOWN), reading(received=30), 1.0)
    assert figures.received_per_s == 30


@pytest.mark.parametrize(
    ("before", "after", "elapsed_s"),
    [
        (None, reading(received=30), 1.0),
        (reading(), reading(received=30), 0.0),
        (reading(received=30), reading(**DOWN), 1.0),
    ],
)
def test_without_two_readings_of_what_runs_no_rate_is_known(before, after, elapsed_s):
    figures = figures_of(before, after, elapsed_s)
    assert (figures.received_per_s, figures.busy, figures.cpu) == (None, None, None)
    assert figures.latency_s(0.5) is None


def test_a_stage_has_the_sums_of_its_replicas_and_the_means_of_their_shares():
    one = figures_of(reading(), reading(0.001, received=10, busy_s=1.0, in_flight=3, lost=1), 1.0)
    two = figures_of(reading(), reading(0.002, received=30, busy_s=0.5, in_flight=4), 1.0)
    both = together([one, two, Figures()])
    assert (both.received_per_s, both.busy, both.in_flight, both.lost) == (40, 0.75, 7, 1)
    assert both.inputs_per_s == {"images": 0}
    assert sum(both.latency_counts) == 2
    assert both.rss_bytes == 2 * 2**20


def test_nothing_is_known_of_a_stage_of_which_nothing_runs():
    none = together([Figures(), Figures()])
    assert (none.received_per_s, none.busy, none.rss_bytes) == (None, None, None)
    assert (none.in_flight, none.latency_s(0.5)) == (0, None)


counts = st.integers(0, 2**64 - 1)
times = st.none() | st.floats(0, 1e9)


@st.composite
def readings(draw, role):
    row = {
        **{key: draw(counts) for key in ("received", "sent", "bytes_in", "in_flight", "errors")},
        **{key: draw(times) for key in ("busy_s", "idle_s", "blocked_s", "cpu_s")},
        "inputs": {"images": draw(counts)},
        "incarnation": draw(st.none() | st.integers(1, 2)),
        "role": role,
    }
    lengths = draw(st.sampled_from([(), (draw(counts),) + (0,) * (BUCKETS - 2) + (draw(counts),)]))
    return Reading({**WORK, **row}, lengths)


def numbers_of(figures):
    yield from (getattr(figures, key) for key in ("received_per_s", "sent_per_s", "cpu"))
    yield from (getattr(figures, key) for key in ("mebibytes_per_s", "busy", "idle", "blocked"))
    yield from (figures.latency_s(0.5), figures.latency_s(0.99))
    yield from figures.inputs_per_s.values()


histories = st.sampled_from(["listener", "operator", "publisher"]).flatmap(
    lambda role: st.lists(readings(role), min_size=2, max_size=4)
)


@given(histories, st.floats(-1, 0) | st.floats(1e-6, 1e6))
def test_whatever_is_read_no_figure_is_below_zero_or_no_number(read, elapsed_s):
    found = [figures_of(before, after, elapsed_s) for before, after in pairwise(read)]
    for figures in (*found, together(found)):
        known = [number for number in numbers_of(figures) if number is not None]
        assert all(number >= 0 and math.isfinite(number) for number in known)
        shares = [figures.busy, figures.idle, figures.blocked]
        assert sum(share for share in shares if share is not None) <= 1 + 1e-9


def test_of_a_program_only_load_and_memory_are_known():
    before = Reading(ROW | {"role": "program"})
    after = Reading(before.row | {"cpu_s": 0.5, "idle_s": 1.0})
    figures = figures_of(before, after, 1.0)
    assert figures.cpu == 0.5
    assert figures.rss_bytes == ROW["rss_bytes"]
    assert figures.received_per_s is None
    assert figures.idle is None
