from __future__ import annotations

import itertools

import pytest
from unit.protocol.below import make_context, make_downstream, make_sender

from arroyo.codec import Ack, Batch, End, Hello, Kind, Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.output_run import OutputRun
from arroyo.protocol.fold.state import OpenOutputs
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Outbox, Release, Transmit
from arroyo.protocol.values.run_totals import RunTotals

NAME, EPOCH, LIFE_BELOW = ReplicaName("fold", 0), 5, 3


class Below:
    """The stage below a fold: acknowledges what a test wants."""

    def __init__(self, former=0, *, ordered=False):
        outbox = Outbox()
        downstream = make_downstream(NAME, outbox)
        context = make_context(NAME, downstream, outbox, ordered=ordered)
        sender, recovery = make_sender(
            context, epoch=EPOCH, first=former, new_run=lambda: "r", base=0
        )
        self.run = OutputRun(sender, OpenOutputs("s.0", "r", former) if former else None)
        self.source = Source(sender, recovery, context.history, outbox)
        self.actions = self.source.connect()
        self.actions += self.source.record(Hello(1, "b", 0, LIFE_BELOW), 0.0)

    def take(self, actions):
        """Return what was sent: kind, ranges and items."""
        actions = list(actions)
        self.actions += actions
        return [
            (action.record.kind, action.record.ranges, list(action.items))
            for action in actions
            if isinstance(action, Transmit) and isinstance(action.record, Batch)
        ]

    def accept(self, kind, *items):
        make_stop = None if items else RunTotals.as_data
        intake = InputBatch(kind, items, items or (None,), len(items), make_stop=make_stop)
        return self.take(self.source.accept(intake, 0.0))

    def acknowledge(self, *ranges, taken=0):
        ack = Ack("b", 0, str(NAME), EPOCH, 0, ranges, taken=taken)
        return self.take(self.source.record(ack, 0.0))

    @property
    def released(self):
        """Tokens of what is finished, in order."""
        tokens = [each.tokens for each in self.actions if isinstance(each, Release)]
        return list(itertools.chain(*tokens))


def run_of(below, *outputs):
    below.accept(Kind.START, "start")
    below.accept(Kind.EVENTS, *outputs)


def test_it_keeps_the_run_and_numbers_its_outputs_from_0():
    below = Below()
    run_of(below, "x", "y")
    records = [each.record for each in below.actions if isinstance(each, Transmit)][-2:]
    assert {(each.source, each.run, each.epoch) for each in records} == {("fold.0", "r", EPOCH)}
    assert [[first - each.base for first, _ in each.ranges] for each in records] == [[-1], [0]]


def test_a_run_without_a_start_is_numbered_from_0_as_well():
    below = Below()
    below.accept(Kind.EVENTS, "x")
    record = below.actions[-1].record
    assert (record.implicit, record.ranges[0][0] - record.base) == (True, 0)


@pytest.mark.parametrize("start", [True, False])
def test_the_next_life_goes_on_numbering_where_the_former_one_was(start):
    below = Below(former=4)
    assert below.run.finished == 4
    if start:
        below.accept(Kind.START, "start")
    assert below.run.finished == 4
    below.accept(Kind.EVENTS, "x")
    record = below.actions[-1].record
    assert record.ranges[0][0] - record.base == 4


def test_outputs_of_former_lives_are_counted_in_the_stop():
    below = Below(former=4)
    run_of(below, "x")
    below.accept(Kind.STOP)
    ((_, _, (totals,)),) = below.acknowledge((4, 6))
    assert totals["sent"] == 5


def test_only_outputs_are_counted_as_finished():
    below = Below()
    assert below.run.finished == 0
    run_of(below, "x", "y")
    below.acknowledge((0, 1))
    assert below.run.finished == 0
    below.acknowledge((1, 2))
    assert below.run.finished == 1
    below.accept(Kind.STOP)
    below.acknowledge((2, 3))
    assert below.run.finished == 2
    below.acknowledge((3, 4))
    assert below.run.finished == 2


def test_it_is_over_when_its_stop_is_finished():
    below = Below()
    run_of(below, "x")
    below.accept(Kind.STOP)
    assert below.acknowledge((0, 2)) == [(Kind.STOP, ((2, 3),), [RunTotals(1).as_data()])]
    assert not below.run.over
    below.acknowledge((2, 3))
    assert below.run.over
    assert below.released == ["start", "x", None]


def test_other_runs_go_on_when_it_ends_so_it_says_no_end():
    below = Below()
    run_of(below, "x")
    below.accept(Kind.STOP)
    below.acknowledge((0, 2))
    below.acknowledge((2, 3))
    below.run.sender.sequencer.finish()
    below.run.sender.work(0.0)
    assert below.run.sender.sequencer.through
    below.take(below.source.connect())
    sent = [each.record for each in below.actions if isinstance(each, Transmit)]
    assert not any(isinstance(record, End) for record in sent)


def test_the_announcement_of_a_stop_goes_on_once_a_fold_below_holds_all_that_is_left():
    below = Below()
    run_of(below, "x", "y")
    assert below.accept(Kind.CLOSING) == []
    below.acknowledge((0, 2))
    (closing,) = below.acknowledge((2, 3), taken=LIFE_BELOW)
    assert closing[0] == Kind.CLOSING
    assert closing[2][0]["sent"] == 2
    assert below.actions[-1].record.holders == (("b", 0, LIFE_BELOW),)
    assert not below.run.over


def test_nothing_is_announced_where_no_fold_below_holds_anything():
    below = Below()
    run_of(below, "x")
    below.accept(Kind.CLOSING)
    assert below.acknowledge((0, 2)) == []


def test_the_end_of_a_run_without_a_start_is_announced_too():
    below = Below()
    below.accept(Kind.EVENTS, "x")
    below.accept(Kind.CLOSING)
    ((kind, _, _),) = below.acknowledge((0, 1), taken=LIFE_BELOW)
    assert kind == Kind.CLOSING


def test_a_run_without_a_start_is_over_when_its_end_is_announced_and_all_is_finished():
    below = Below()
    below.accept(Kind.EVENTS, "x")
    below.acknowledge((0, 1))
    assert not below.run.over
    ((kind, _, _),) = below.accept(Kind.CLOSING)
    assert (kind, below.run.over) == (Kind.CLOSING, True)
    below.accept(Kind.EVENTS, "y")
    below.acknowledge((1, 2))
    assert not below.run.over
    # All is said again where it has given out more.
    ((kind, _, _),) = below.accept(Kind.CLOSING)
    assert (kind, below.run.over) == (Kind.CLOSING, True)


def test_an_announcement_of_what_was_over_before_opens_nothing():
    below = Below(former=4)
    assert below.accept(Kind.CLOSING) == []
    assert below.run.over


def test_what_is_lost_below_comes_again():
    below = Below()
    run_of(below, "x", "y")
    below.acknowledge((0, 2))
    below.run.sender.note_loss(1.0)
    assert below.take(below.source.tick(9.0)) == [(Kind.EVENTS, ((2, 3),), ["y"])]
    list(below.source.record(Lost("b", 0), 10.0))
    assert below.source.deadline < 12.0


def test_the_place_of_a_start_in_mid_run_is_told_where_order_matters():
    below = Below(former=4, ordered=True)
    below.accept(Kind.START, "start")
    stones = [
        stone
        for each in below.actions
        if isinstance(each, Transmit) and isinstance(each.record, Batch)
        for stone in each.record.tombstones
    ]
    # Else a stage below would wait for an event of this number.
    assert any(stone.first <= 4 < stone.end for stone in stones)
    assert below.accept(Kind.EVENTS, "x") == [(Kind.EVENTS, ((5, 6),), ["x"])]
