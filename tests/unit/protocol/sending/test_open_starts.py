from __future__ import annotations

from arroyo.codec import Batch, Kind
from arroyo.protocol.sending.open_starts import OpenStarts
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.batches import OutgoingBatch


def note(starts, kind, run, *, source="s.0", epoch=1, base=0, path=0):
    starts.note(
        OutgoingBatch(Batch("a.0", 1, 0, kind, run, source, epoch, base, frontier=0, path=path))
    )


def runs(starts):
    return [(load.header.source, load.header.run, load.header.path) for load in starts]


def test_a_start_is_kept_until_its_stop_has_left_the_same_way():
    starts = OpenStarts()
    for path in (0, 1):
        note(starts, Kind.START, "r", path=path)
    note(starts, Kind.EVENTS, "r")
    note(starts, Kind.STOP, "r")
    assert runs(starts) == [("s.0", "r", 1)]


def test_the_next_start_of_a_life_ends_the_run_before_whose_stop_was_missed():
    starts = OpenStarts()
    note(starts, Kind.START, "missed")
    note(starts, Kind.START, "other way", path=1)
    note(starts, Kind.START, "next", base=5)
    assert runs(starts) == [("s.0", "other way", 1), ("s.0", "next", 0)]


def test_a_start_that_goes_before_its_stop_once_more_ends_no_later_run():
    starts = OpenStarts()
    note(starts, Kind.START, "later", base=5)
    note(starts, Kind.START, "before")
    assert len(runs(starts)) == 2
    note(starts, Kind.STOP, "before")
    assert runs(starts) == [("s.0", "later", 0)]


def test_runs_of_a_fold_overlap_for_each_has_an_epoch_of_its_own():
    starts = OpenStarts()
    for epoch in (1, 2):
        note(starts, Kind.START, f"r{epoch}", epoch=epoch)
    assert runs(starts) == [("s.0", "r1", 0), ("s.0", "r2", 0)]


def test_with_more_of_one_source_than_can_be_open_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(bounded_table, "OPEN_RUNS", 2)
    starts = OpenStarts()
    note(starts, Kind.START, "r", source="t.0")
    for epoch in range(4):
        note(starts, Kind.START, f"r{epoch}", epoch=epoch)
    assert runs(starts) == [("t.0", "r", 0), ("s.0", "r2", 0), ("s.0", "r3", 0)]
