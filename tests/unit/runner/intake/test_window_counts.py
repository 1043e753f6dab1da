import pytest

from arroyo.runner.intake.window_counts import Counts


@pytest.fixture
def counts():
    return Counts([0], [0], [0])


def test_what_is_seen_is_no_longer_expected(counts):
    counts.add(2)
    counts.expect(5)
    counts.see(3)
    assert (counts.events, counts.received[0], counts.unseen[0]) == (5, 5, 2)
    counts.see(4)
    assert (counts.received[0], counts.unseen[0]) == (9, 0)


def test_a_run_ends_once(counts):
    counts.add(2)
    counts.end_run()
    counts.add(1)
    counts.end_run()
    assert counts.run_end[0] == 2 + 1


@pytest.mark.parametrize(
    ("taken", "of_first_run", "end"), [(1, True, 2), (1, False, 3), (2, True, 3)]
)
def test_what_is_dropped_of_the_open_run_brings_its_end_nearer(counts, taken, of_first_run, end):
    counts.add(2)
    counts.end_run()
    counts.drop(taken=taken, of_first_run=of_first_run)
    assert (counts.events, counts.run_end[0]) == (1, end)
