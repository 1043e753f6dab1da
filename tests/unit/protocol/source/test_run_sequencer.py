"""What of a source's runs leaves next, without links."""

from __future__ import annotations

import itertools

import pytest
from unit.protocol.below import make_context, make_downstream
from unit.protocol.source.test_ledger import ack

from arroyo.codec import Hello, Kind, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.run_sequencer import RunSequencer
from arroyo.protocol.values.actions import Outbox
from arroyo.protocol.values.run_totals import RunTotals

NAME = ReplicaName("s", 0)


class Sequencing:
    """A sequencer, and a ledger that takes what leaves."""

    def __init__(self, *, first=0, base=None, ordered=False):
        outbox = Outbox()
        downstream = make_downstream(NAME, outbox)
        context = make_context(NAME, downstream, outbox, ordered=ordered)
        runs = itertools.count(1)
        self.ledger = Ledger(context.terminals, first)
        self.sequencer = RunSequencer(
            context,
            self.ledger,
            epoch=1,
            new_run=lambda: f"run{next(runs)}",
            make_early_stop=lambda reason: lambda totals: (reason, totals.as_data()),
            base=base,
        )
        downstream.connect()
        downstream.record(Hello(1, "b", 0, 1))

    def leave(self):
        """Return kind, run, ranges and tombstones of what leaves now."""
        left = []
        while (departure := self.sequencer.next()) is not None:
            batch, intake = departure
            header = batch.header
            left.append((header.kind, header.run, header.ranges, header.tombstones))
            if batch.items and header.kind != Kind.CLOSING:
                self.ledger.add(batch, intake.tokens, 0.0)
        return [(kind, *rest) for kind, *rest in left]

    def put(self, kind, *items):
        make_stop = RunTotals.as_data if kind in {Kind.STOP, Kind.CLOSING} else None
        self.sequencer.put(InputBatch(kind, items, items or (None,), make_stop=make_stop))
        return self.leave()

    def finish(self, *ranges, taken=0):
        self.ledger.acknowledge(ack(*ranges, taken=taken))
        self.ledger.advance(0.0)
        return self.leave()


@pytest.fixture
def runs():
    return Sequencing()


def test_a_stop_waits_for_its_run_and_what_comes_behind_it_waits_too(runs):
    assert runs.put(Kind.START, "start") == [(Kind.START, "run1", ((0, 1),), ())]
    runs.put(Kind.EVENTS, "a", "b")
    assert runs.put(Kind.STOP) == runs.put(Kind.EVENTS, "c") == []
    assert (runs.sequencer.waits, runs.sequencer.open_runs) == (True, None)
    assert runs.finish((0, 3)) == [
        (Kind.STOP, "run1", ((3, 4),), ()),
        (Kind.EVENTS, "run2", ((4, 5),), ()),
    ]


def test_a_stop_is_announced_once_folds_hold_all_that_is_left(runs):
    runs.put(Kind.START, "start")
    runs.put(Kind.EVENTS, "a", "b")
    runs.put(Kind.STOP)
    assert runs.finish((0, 2)) == []
    ((kind, *_),) = runs.finish((2, 3), taken=7)
    assert kind == Kind.CLOSING
    assert runs.leave() == []
    runs.ledger.attempts += 1
    assert len(runs.leave()) == 1


def test_a_run_without_a_start_is_over_when_all_is_finished_and_a_start_comes(runs):
    runs.put(Kind.EVENTS, "a")
    assert runs.put(Kind.START, "start") == []
    assert [(kind, run) for kind, run, *_ in runs.finish((0, 1))] == [
        (Kind.CLOSING, "run1"),
        (Kind.START, "run2"),
    ]


def test_it_is_through_when_all_that_left_is_finished(runs):
    runs.put(Kind.EVENTS, "a")
    runs.sequencer.finish()
    runs.leave()
    assert not runs.sequencer.through
    runs.finish((0, 1))
    assert runs.sequencer.through


def test_a_run_that_stays_open_has_no_stop_and_ends_with_what_folds_hold(runs):
    runs.put(Kind.START, "start")
    runs.put(Kind.EVENTS, "a")
    runs.sequencer.finish(keep_open=True)
    assert runs.leave() == runs.finish((0, 1)) == []
    assert not runs.sequencer.through
    assert runs.finish((1, 2), taken=7) == []
    assert runs.sequencer.through


def test_outputs_go_on_with_the_numbers_of_the_life_before():
    runs = Sequencing(first=4, base=0, ordered=True)
    (start, mark) = runs.put(Kind.START, "start")
    assert start == (Kind.START, "run1", ((4, 5),), ())
    # Else a stage below would wait for an event with the number of the Start.
    assert mark[3] == (Tombstone(3, 4, Reason.FINISHED), Tombstone(4, 5, Reason.FINISHED))
    assert runs.sequencer.base == 1
    assert runs.put(Kind.EVENTS, "x") == [(Kind.EVENTS, "run1", ((5, 6),), ())]
