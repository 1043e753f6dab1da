from __future__ import annotations

import itertools

import msgspec
import pytest
from unit.protocol.model import chain, listener, operator, publisher

from arroyo.codec import (
    Ack,
    Batch,
    Bye,
    Credit,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Suspect,
    Tombstone,
)
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.fold import fold as module
from arroyo.protocol.fold import outputs as fold_outputs
from arroyo.protocol.fold.fold import Folded
from arroyo.protocol.fold.state import FoldState
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.source.suspects import DEATHS
from arroyo.protocol.values.actions import Release, Reply, Transmit
from arroyo.protocol.values.deliveries import Output
from arroyo.protocol.values.run_totals import RunTotals
from arroyo.runner.assembly.folds import make_fold

FOLD, LIFE, BELOW = ReplicaName("fold", 0), 4, ReplicaName("c", 0)
ABOVE, SOURCE = ReplicaName("a", 0), ReplicaName("s", 0)
EVENTS = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, base=1, frontier=0, path=0)
NOTHING = Folded(Output(reason=Reason.FILTERED))


class Fold:
    """A fold between a stage above and a sink, whose code does what a test says."""

    def __init__(self, *, memory=None, pub_sub=False, order="any"):
        link = "~a" if pub_sub else "a"
        self.epoch = memory.next_epoch if memory else 100
        stages = listener("s"), operator("a", "s"), operator("fold", link, order=order)
        self.machine = make_fold(
            chain(*stages, publisher("c", "fold")),
            FOLD,
            incarnation=LIFE,
            holds=True,
            memory=memory or FoldState(next_epoch=self.epoch),
            make_early_stop=lambda reason: lambda totals: (reason, totals.as_data()),
        )
        self.actions = list(self.machine.connect())
        self.actions += self.machine.back(Hello(1, *BELOW, 1), 0.0)
        self.number = 0
        if not pub_sub:
            self.machine.record(Open(1, *ABOVE, 1, 1), None, 0.0)

    def _do(self, actions):
        """Carry out, and return the records."""
        actions = list(actions)
        self.actions += actions
        return [each.record for each in actions if isinstance(each, Transmit | Reply)]

    def come(self, kind, *ranges, outcome=NOTHING, now=0.0, **changes):
        """A batch comes; returns the records that come of it."""
        batch = msgspec.structs.replace(
            EVENTS, number=self.number, kind=kind, ranges=ranges, **changes
        )
        self.number += 1
        actions, deliveries = self.machine.record(batch, None, now)
        records = self._do(actions)
        self.deliveries = [each.batch.kind for each in deliveries]
        for each in deliveries:
            messages = range(sum(end - first for first, end in each.batch.ranges))
            work = self.machine.receiver.plan(each.batch, messages)
            outcomes = outcome if isinstance(outcome, list) else [outcome] * len(work)
            records += self._do(self.machine.finish(each.batch, work, outcomes[: len(work)], 0.1))
        return records

    def start(self, **changes):
        return self.come(Kind.START, (0, 1), outcome=b"start", **changes)

    def stop(self, place, *items, kind=Kind.STOP, **changes):
        folded = Folded(Output(items, len(items)), None, RunTotals.as_data)
        return self.come(kind, (place, place + 1), outcome=folded, **changes)

    def acknowledge(self, *ranges, epoch=None):
        ack = Ack("c", 0, "fold.0", epoch or self.epoch, 0, ranges)
        return self._do(self.machine.back(ack, 0.0))

    def back(self, record, now=0.0):
        return self._do(self.machine.back(record, now))


def made(item, still_held=None):
    return Folded(Output((item,), 1), still_held)


def batches(records):
    return [record for record in records if isinstance(record, Batch)]


def told(records):
    """What acknowledgements say: life that holds it, and ranges."""
    return [(record.taken, record.ranges) for record in records if isinstance(record, Ack)]


def started():
    fold = Fold()
    fold.start()
    fold.acknowledge((0, 1))
    return fold


def test_it_asks_its_senders_to_share_out_by_sequence():
    hellos = [each.record for each in Fold().actions if isinstance(each, Reply)]
    assert {type(record) for record in hellos} == {Hello}
    assert all(record.sticky for record in hellos)


def test_what_is_folded_goes_no_further_and_is_held():
    records = started().come(Kind.EVENTS, (1, 3))
    assert batches(records) == []
    assert told(records) == [(LIFE, ((1, 3),))]
    assert isinstance(records[-1], Credit)


def test_an_output_goes_on_as_from_a_source_and_finishes_its_inputs_when_it_is_finished():
    fold = started()
    (batch,) = batches(fold.come(Kind.EVENTS, (1, 4), outcome=[NOTHING, made(b"x"), NOTHING]))
    assert (batch.source, batch.epoch, batch.run) == ("fold.0", 100, "r")
    assert [first - batch.base for first, _ in batch.ranges] == [0]
    assert told(fold.acknowledge((1, 2))) == [(0, ((1, 3),))]


def test_inputs_are_finished_with_the_last_of_several_outputs():
    fold = started()
    both = Folded(Output((b"x", b"y"), 2))
    fold.come(Kind.EVENTS, (1, 2), outcome=both)
    assert told(fold.acknowledge((1, 2))) == []
    assert told(fold.acknowledge((2, 3))) == [(0, ((1, 2),))]


def test_one_that_says_what_it_holds_finishes_all_else():
    fold = started()
    origins = [Origin("r", "s.0", 1, number) for number in range(2)]
    fold.come(
        Kind.EVENTS,
        (1, 3),
        outcome=[
            Folded(NOTHING.output, frozenset(origins[:1])),
            made(b"x", frozenset(origins[1:])),
        ],
    )
    assert told(fold.acknowledge((1, 2))) == [(0, ((1, 2),))]


def test_what_it_says_that_it_does_not_need_is_finished_without_an_output():
    records = started().come(Kind.EVENTS, (1, 2), outcome=Folded(NOTHING.output, frozenset()))
    assert (0, ((1, 2),)) in told(records)


def test_start_and_stop_are_finished_above_when_they_are_finished_below():
    fold = Fold()
    (start,) = batches(fold.start())
    assert start.kind == Kind.START
    assert told(fold.acknowledge((0, 1))) == [(0, ((0, 1),))]
    (stop,) = batches(fold.stop(1))
    assert stop.kind == Kind.STOP
    assert told(fold.acknowledge((1, 2))) == [(0, ((1, 2),))]
    assert fold.machine.outputs.runs == {}


def test_what_is_held_at_the_stop_goes_before_it():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    (output,) = batches(fold.stop(3, b"rest"))
    assert (output.kind, output.ranges) == (Kind.EVENTS, ((1, 2),))
    records = fold.acknowledge((1, 2))
    assert told(records) == [(0, ((1, 3),))]
    assert [batch.kind for batch in batches(records)] == [Kind.STOP]


def test_what_a_stop_leaves_without_an_output_is_finished():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    assert (0, ((1, 3),)) in told(fold.stop(3))


def closing(fold, *items, **changes):
    holders = changes.pop("holders", ((*FOLD, LIFE),))
    return fold.stop(3, *items, kind=Kind.CLOSING, holders=holders, **changes)


def test_an_announcement_of_a_stop_has_it_give_out_what_it_holds_and_is_not_acknowledged():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    records = closing(fold, b"rest")
    assert [batch.kind for batch in batches(records)] == [Kind.EVENTS]
    assert told(records) == []
    assert told(fold.acknowledge((1, 2))) == [(0, ((1, 3),))]


@pytest.mark.parametrize("holders", [((*FOLD, LIFE - 1),), (("fold", 1, LIFE),)])
def test_an_announcement_that_is_meant_for_another_life_is_credited_and_no_more(holders):
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    records = closing(fold, holders=holders)
    assert fold.deliveries == []
    assert records == [Credit("fold", 0, 1, 3, 0.1)]
    closing(fold)
    assert fold.deliveries == [Kind.CLOSING]


def test_an_announcement_after_a_gap_is_rejected_whomever_it_is_meant_for():
    fold = started()
    fold.number += 1
    assert closing(fold, holders=()) == [Lost("fold", 0, 1)]


def test_an_announcement_that_comes_again_is_not_worked_on_again():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    closing(fold, b"rest")
    assert [type(record) for record in closing(fold)] == [Credit]
    assert fold.deliveries == []


def test_what_came_after_an_announcement_is_given_out_at_the_next_and_announced_below():
    """A fold further above has died, and gives out again what it had not finished."""
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    closing(fold, b"x")
    assert announced(fold.back(held_below((1, 2)))) == [0]
    fold.come(Kind.EVENTS, (3, 4))
    assert [batch.ranges for batch in batches(closing(fold, b"y", attempt=1))] == [((2, 3),)]
    assert fold.deliveries == [Kind.CLOSING]
    assert announced(fold.back(held_below((2, 3)))) == [1]


def held_below(*ranges):
    return Ack("c", 0, "fold.0", 100, 0, ranges, taken=1)


def announced(records):
    """In which attempts a Stop is announced to the stages below."""
    return [batch.attempt for batch in batches(records) if batch.kind == Kind.CLOSING]


def test_events_of_a_run_that_is_over_are_finished_for_another_life_of_their_source():
    fold = started()
    fold.stop(1)
    records = fold.come(Kind.EVENTS, (1, 3), epoch=2)
    (ack,) = [record for record in records if isinstance(record, Ack)]
    assert (ack.epoch, ack.taken, ack.ranges) == (2, 0, ())
    assert ack.tombstones == (Tombstone(1, 3, Reason.FINISHED),)


def test_runs_that_overlap_have_epochs_of_their_own():
    fold = Fold()
    epochs = [batches(fold.start(run=run))[0].epoch for run in ("r", "other")]
    assert epochs == [100, 101]
    assert [run.sender.epoch for run in fold.machine.outputs.runs.values()] == epochs
    fold.stop(1)
    fold.acknowledge((0, 1))
    fold.acknowledge((1, 2))
    assert list(fold.machine.outputs.runs) == [("s.0", "other")]


def test_by_pub_sub_nothing_is_held_or_acknowledged():
    fold = Fold(pub_sub=True)
    records = fold.start(reliable=False)
    records += fold.come(Kind.EVENTS, (1, 3), outcome=[NOTHING, made(b"x")], reliable=False)
    records += fold.acknowledge((0, 2))
    assert told(records) == []
    assert [batch.reliable for batch in batches(records)] == [True, True]


def test_the_oldest_input_says_when_an_output_was_handed_over():
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), handed_ns=50)
    (first,) = batches(fold.come(Kind.EVENTS, (2, 3), outcome=made(b"x"), handed_ns=60))
    (second,) = batches(fold.come(Kind.EVENTS, (3, 4), outcome=made(b"y"), handed_ns=70))
    assert (first.handed_ns, second.handed_ns) == (50, 70)


def test_no_input_is_taken_while_too_many_outputs_are_not_finished(monkeypatch):
    monkeypatch.setattr(module, "WINDOW_MESSAGES", 2)
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    assert not fold.machine.blocked
    fold.come(Kind.EVENTS, (2, 3), outcome=made(b"y"))
    assert fold.machine.blocked
    fold.acknowledge((1, 2))
    assert not fold.machine.blocked


# Death


def test_outputs_that_died_with_the_stage_below_come_again():
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    fold.back(Hello(1, *BELOW, 2), 1.0)
    actions, _ = fold.machine.tick(2.5)
    (again,) = batches([each.record for each in actions])
    assert (again.ranges, again.attempt) == (((1, 2),), 1)


@pytest.mark.parametrize("sign", [Lost("c", 0), Hello(1, "far", 0, 2)])
def test_a_death_further_below_is_heard_of(sign):
    fold = started()
    fold.back(Hello(1, "far", 0, 1))
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    fold.back(sign, 1.0)
    actions, _ = fold.machine.tick(2.5)
    assert batches([each.record for each in actions])


def test_what_was_on_a_link_that_broke_comes_again():
    fold = started()
    (sent,) = batches(fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"), now=1.0))
    fold._do(fold.machine.disconnected(BELOW, sent.link))
    fold.back(Hello(1, *BELOW, 1), 1.0)
    actions, _ = fold.machine.tick(2.5)
    assert batches([each.record for each in actions])


def is_announced_below(*said):
    """Whether a Stop is announced to a fold below, after what that has said."""
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    for record in said:
        fold.back(record)
    return [batch.kind for batch in batches(closing(fold))] == [Kind.CLOSING]


HELD_BELOW = held_below((1, 2))


def test_a_stop_is_announced_below_only_to_the_life_that_holds_what_is_left():
    assert is_announced_below(HELD_BELOW)
    assert is_announced_below(HELD_BELOW, Hello(1, *BELOW, 2))
    assert not is_announced_below(HELD_BELOW, Hello(1, *BELOW, 2, sticky=True))


def test_what_a_life_said_that_ended_before_the_run_began_counts_for_nothing():
    fold = Fold()
    fold.back(Hello(1, *BELOW, 2, sticky=True))
    fold.start()
    fold.acknowledge((0, 1))
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    fold.back(HELD_BELOW)
    assert batches(closing(fold)) == []


def test_an_output_in_quarantine_goes_as_a_tombstone():
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    for life in range(2, 2 + DEATHS):
        asked = fold.machine.back(Suspect("c", 0, life, "fold.0", 100, 1, "SIGSEGV"), 0.5)
    assert fold.machine.quarantined(asked[0].suspect, kept=True) == []
    fold.back(Lost("c", 0), 1.0)
    actions, _ = fold.machine.tick(2.5)
    (again,) = batches([each.record for each in actions])
    assert (again.ranges, again.tombstones) == ((), (Tombstone(1, 2, Reason.QUARANTINED),))


def memories(fold):
    """What it has had noted before each `Release`."""
    noted = []
    do = fold._do

    def note(actions):
        for action, following in itertools.pairwise(actions):
            if isinstance(following, Release):
                noted.append(action.state)
        return do(actions)

    fold._do = note
    return noted


def test_outputs_and_inputs_that_are_finished_are_noted_together():
    fold = started()
    noted = memories(fold)
    fold.come(Kind.EVENTS, (1, 4), outcome=[NOTHING, made(b"x"), NOTHING])
    assert noted == []
    fold.acknowledge((1, 2))
    (memory,) = noted
    assert [(each.source, each.run, each.finished) for each in memory.outputs] == [("s.0", "r", 1)]
    assert [(each.source, each.ranges) for each in memory.inputs] == [("s.0", ((1, 3),))]


def next_life(*, order="any"):
    """A fold whose life before had finished one output, of two inputs."""
    fold = started()
    noted = memories(fold)
    fold.come(Kind.EVENTS, (1, 4), outcome=[NOTHING, made(b"x"), NOTHING])
    fold.acknowledge((1, 2))
    following = Fold(memory=noted[-1], order=order)
    following.start()
    return following


def test_the_next_life_folds_nothing_twice_and_goes_on_counting():
    fold = next_life()
    records = fold.come(Kind.EVENTS, (1, 5), outcome=[NOTHING, made(b"y")])
    assert told(records) == [(LIFE, ((3, 5),)), (0, ((1, 3),))]
    (batch,) = batches(records)
    assert batch.ranges[0][0] - batch.base == 1


def test_each_life_has_greater_epochs_though_the_clock_steps_back():
    """Receivers take nothing of a life once they have heard the next one."""
    (first,) = batches(Fold(memory=FoldState()).start())
    assert first.epoch == LIFE
    fold = started()
    (second,) = batches(Fold(memory=fold.machine.memory).start())
    assert second.epoch > fold.epoch + 1_000_000


def test_the_next_life_waits_for_no_place_of_what_is_finished():
    """Where it restores the order of the source, which may send what it has not heard of."""
    fold = next_life(order="source")
    assert told(fold.come(Kind.EVENTS, (4, 5), frontier=1)) == []
    records = fold.come(Kind.EVENTS, (1, 4), frontier=1, attempt=1)
    assert sorted(told(records)) == [(0, ((1, 3),)), (LIFE, ((3, 5),))]


def test_runs_that_the_next_life_has_not_heard_of_stay_noted():
    fold = next_life()
    runs = [each.run for each in Fold(memory=fold.machine.memory).machine.memory.outputs]
    assert runs == ["r"]


def test_a_stop_that_comes_again_to_the_next_life_counts_the_outputs_of_this_one():
    """Its acknowledgement may die with this life, though the run is over."""
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    fold.stop(2)
    fold.acknowledge((1, 2))
    fold.acknowledge((2, 3))
    assert fold.machine.outputs.runs == {}
    following = Fold(memory=fold.machine.memory)
    (start,) = batches(following.start(attempt=1))
    following.acknowledge(start.ranges[0])
    following.stop(2, attempt=1)
    (stop,) = [
        each
        for each in following.actions
        if isinstance(each, Transmit)
        and isinstance(each.record, Batch)
        and each.record.kind == Kind.STOP
    ]
    assert stop.items[0]["sent"] == 1


def test_a_run_without_a_start_is_over_when_the_next_has_begun_and_all_of_it_is_finished():
    fold = Fold()
    fold.come(Kind.EVENTS, (0, 1), run="i", implicit=True, base=0, outcome=made(b"x"))
    fold.acknowledge((0, 1), epoch=100)
    fold.come(Kind.EVENTS, (1, 2), run="i", implicit=True, base=0, outcome=made(b"y"))
    fold.start()
    assert [run for _, run in fold.machine.outputs.runs] == ["i", "r"]
    fold.acknowledge((1, 2), epoch=100)
    assert [run for _, run in fold.machine.outputs.runs] == ["r"]
    (late,) = batches(fold.come(Kind.EVENTS, (2, 3), run="i", implicit=True, outcome=made(b"z")))
    assert (late.epoch, late.ranges[0][0] - late.base) == (102, 2)


def test_a_fold_hears_of_the_end_of_a_run_without_a_start_though_its_source_knows_of_nothing():
    fold = Fold()
    fold.come(Kind.EVENTS, (0, 1), run="i", implicit=True, base=0)
    records = fold.stop(1, b"sum", kind=Kind.CLOSING, run="i", implicit=True, base=0, holders=())
    assert [each.kind for each in batches(records)] == [Kind.EVENTS]


def test_only_the_last_runs_that_are_over_are_remembered(monkeypatch):
    monkeypatch.setattr(fold_outputs, "FORMER_RUNS", 2)
    fold = Fold()
    for number in range(3):
        fold.start(run=f"r{number}")
        fold.stop(1, run=f"r{number}")
        for place in range(2):
            fold.acknowledge((place, place + 1), epoch=100 + number)
    assert [each.run for each in fold.machine.memory.outputs] == ["r1", "r2"]


# Beginning and end


def test_end_follows_when_all_that_was_given_out_is_finished():
    fold = started()
    fold.come(Kind.EVENTS, (1, 2), outcome=made(b"x"))
    fold.stop(2)
    assert fold._do(fold.machine.end(final=True)) == []
    fold.acknowledge((1, 2))
    assert not fold.machine.ended
    (end,) = [each for each in fold.acknowledge((2, 3)) if isinstance(each, End)]
    assert end.final
    assert fold.machine.ended


def test_a_life_that_leaves_waits_for_no_stop():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3), outcome=[made(b"x"), NOTHING])
    assert fold._do(fold.machine.end(final=False)) == []
    (end,) = [each for each in fold.acknowledge((1, 2)) if isinstance(each, End)]
    assert not end.final
    assert fold.machine.ended


def test_a_stage_below_that_leaves_gets_its_end():
    (end,) = started().back(Bye(*BELOW, 1))
    assert isinstance(end, End)


def finished_output(fold, run, place, source="a.0"):
    """Of a run without a Start, which has the epoch of its number; returns the output's epoch."""
    event = {"run": f"r{run}", "source": source, "epoch": run, "base": 0, "implicit": True}
    (batch,) = batches(fold.come(Kind.EVENTS, (place, place + 1), outcome=made(b"x"), **event))
    fold.acknowledge(*batch.ranges, epoch=batch.epoch)
    return batch.epoch


def open_runs(fold):
    return [run for _, run in fold.machine.outputs.runs]


def test_runs_of_a_fold_above_overlap_until_their_ends_are_announced():
    fold = Fold()
    epochs = [finished_output(fold, run, place) for place in range(3) for run in (1, 2)]
    assert epochs == [100, 101] * 3
    event = {"source": "a.0", "epoch": 1, "base": 0, "implicit": True}
    (closing,) = batches(fold.stop(3, kind=Kind.CLOSING, run="r1", **event))
    assert (closing.kind, closing.run, closing.epoch) == (Kind.CLOSING, "r1", 100)
    assert open_runs(fold) == ["r2"]


def test_the_run_of_a_listener_is_over_when_its_next_one_begins():
    fold = Fold()
    assert [finished_output(fold, run, 0, source="s.0") for run in (1, 2)] == [100, 101]
    assert open_runs(fold) == ["r2"]


def test_of_runs_of_a_fold_above_whose_ends_are_lost_those_used_last_stay_open(monkeypatch):
    monkeypatch.setattr(run_gate, "CLOSED_RUNS", 3)
    fold = Fold()
    for place in range(9):
        assert finished_output(fold, 1, place) == 100
        finished_output(fold, 2 + place, 0)
    assert open_runs(fold) == ["r8", "r9", "r1", "r10"]


def test_what_was_taken_is_known_without_its_payloads():
    fold = started()
    fold.come(Kind.EVENTS, (1, 3))
    fold.come(Kind.EVENTS, (3, 4), outcome=made(b"x"))
    fold.acknowledge((1, 2))
    batch = msgspec.structs.replace(EVENTS, ranges=((1, 4),), attempt=1)
    assert fold.machine.receiver.knows(batch)
    # What comes of it is what a delivery of it would have said.
    assert told(fold._do(fold.machine.finish(batch, (), (), 0.1))) == [(0, ((1, 4),))]
    assert not fold.machine.receiver.knows(msgspec.structs.replace(batch, ranges=((1, 5),)))
    assert not fold.machine.receiver.knows(msgspec.structs.replace(batch, kind=Kind.STOP))
