from __future__ import annotations

from msgspec import structs

from arroyo.protocol.recovery.unclosed_run import UnclosedRun, runs_left

EPOCH = 7
LAST = "arrived", "run_filtered", "run_skipped", "run_quarantined"
OPEN = UnclosedRun("run", EPOCH, 1, "start")


def left(*noted, **words):
    """What a life leaves that had sent a Start and three events, the first of them finished."""
    nothing = dict.fromkeys(("received", "unseen", "run_end", *LAST), 0)
    page = {"epoch": EPOCH, "next": 4, "frontier": 2, "controls": 1} | nothing | words
    return runs_left(noted, page)


def test_what_was_in_flight_is_lost_and_named():
    (run,) = left(OPEN, received=3)
    assert (run.lost, run.in_flight, run.unsent) == (2, 2, 0)
    assert run.totals.as_data() == {
        "sent": 3,
        "filtered": 0,
        "skipped": 0,
        "quarantined": 0,
        "dropped": 0,
        "lost": 2,
        "lost_at_most": 2,
        "missing": [[1, 3]],
        "complete": False,
    }


def test_what_had_arrived_beyond_the_frontier_is_not_lost():
    (run,) = left(OPEN, next=201, frontier=22, received=200, arrived=201 - 139, run_quarantined=14)
    assert (run.lost, run.totals.sent, run.totals.quarantined) == (139, 200, 14)
    assert run.totals.lost_at_most == 139
    assert run.totals.missing is None  # nobody knows which


def test_what_had_arrived_of_the_runs_before_is_none_of_the_open_one():
    later = structs.replace(OPEN, base=101)
    (run,) = left(later, next=111, frontier=50, controls=52, arrived=50 + 20)
    assert run.lost == 10


def test_what_had_not_left_is_lost_and_named_as_well():
    (run,) = left(OPEN, received=10)
    assert (run.lost, run.in_flight, run.unsent) == (9, 2, 7)
    assert run.totals.sent == 10
    assert run.totals.missing == [[1, 10]]


def test_what_nobody_has_counted_is_a_bound():
    (run,) = left(OPEN, received=10, unseen=100)
    assert (run.lost, run.totals.lost_at_most, run.totals.sent) == (9, 109, 10)


def test_what_was_handed_over_behind_the_end_of_the_run_is_of_no_run_that_anybody_knows():
    run, behind = left(OPEN, received=10, unseen=100, run_end=1 + 5)
    assert (run.totals.sent, run.lost, run.totals.lost_at_most) == (5, 4, 4)
    assert (behind.run, behind.start, behind.lost, behind.unseen) == ("", None, 5, 100)


def test_a_run_that_ended_before_anything_was_handed_over_has_nothing_of_the_next():
    run, behind = left(OPEN, next=1, frontier=0, received=4, run_end=1)
    assert (run.sent, run.lost, behind.lost) == (0, 0, 4)


def test_a_run_whose_start_had_not_left_yet_is_empty():
    (run,) = left(OPEN, next=0, frontier=0, controls=0)
    assert (run.next, run.sent, run.lost) == (1, 0, 0)


def test_what_is_sent_again_by_the_next_life_is_not_counted_again():
    (run,) = left(OPEN, received=10)
    assert runs_left((run,), dict.fromkeys(("epoch", "next", "controls"), 0) | NOTHING) == (run,)


NOTHING = dict.fromkeys(("frontier", "received", "unseen", "run_end"), 0)
