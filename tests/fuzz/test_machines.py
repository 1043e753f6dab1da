"""Every valid record, of strangers too, at every state machine of a stage that is at work.

Whatever comes, a machine raises nothing, and answers only the stages of its chain, with records
that can be sent.
"""

from __future__ import annotations

import msgspec
import pytest
from assembled import chain_of, stage
from fuzz.effort import fuzzed
from fuzz.records import back_records, data_records
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import (
    PROTOCOL_VERSION,
    Batch,
    Hello,
    Kind,
    Open,
    Reason,
    decode_back,
    encode_record,
)
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.fold import Folded
from arroyo.protocol.fold.state import FoldState
from arroyo.protocol.recovery.journal import JournalState
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.actions import Connect, Release, Reply, Transmit
from arroyo.protocol.values.batches import count_of, end_all
from arroyo.protocol.values.deliveries import Output
from arroyo.runner.assembly.folds import make_fold
from arroyo.runner.assembly.relays import make_relay
from arroyo.runner.assembly.sources import make_source

LIFE = 50
STEPS = 8


CHAIN = chain_of(
    stage("src", "listener"),
    stage("work", "operator", "src", replicas=2),
    stage("fold", "operator", "work"),
    stage("file", "publisher", "fold", "work", order="source"),
    stage("live", "publisher", "~work"),
)


def make_early_stop(reason):
    return lambda totals: b"stop"


def above(name):
    return {each for stage in CHAIN.above(name) for each in stage.names}


def below(name):
    return {each for stage in CHAIN.below(name) for each in stage.names}


class Surroundings:
    """Takes what a machine asks for, and holds it against what it may ask for."""

    def __init__(self, stage):
        self.above, self.below = above(stage), below(stage)
        self.released = 0

    def take(self, actions):
        for action in actions:
            if isinstance(action, Reply):
                assert action.to in self.above
                assert decode_back(encode_record(action.record)) == action.record
            elif isinstance(action, Transmit):
                assert action.to in self.below
                encode_record(action.record)
            elif isinstance(action, Connect):
                assert action.to in self.below
            elif isinstance(action, Release):
                self.released += action.messages


outputs = st.sampled_from(
    [
        Output((b"item",), 4),
        Output((b"item", b"other"), 9),
        Output(reason=Reason.FILTERED),
        Output(reason=Reason.QUARANTINED),
    ]
)


class Receiver(Surroundings):
    """A stage below others, whose code makes of messages what the test says."""

    def __init__(self, stage, draw, make):
        super().__init__(stage)
        self.draw = draw
        self.machine = make(ReplicaName(stage, 0))
        self.folds = stage == "fold"
        self.numbers = {}
        self.take(self.machine.connect())
        for each in CHAIN.stages[stage].inputs:
            for name in CHAIN.stages[each.stage].names:
                self.numbers[name] = 0
                self.come(Open(PROTOCOL_VERSION, *name, incarnation=1, link=1), 0.0)
        for name in sorted(self.below):
            self.take(self.machine.back(Hello(PROTOCOL_VERSION, *name, incarnation=70), 0.0))

    def fit(self, batch):
        """Let a batch be the next one of a neighbour."""
        name = self.draw(st.sampled_from(sorted(self.numbers)))
        batch = msgspec.structs.replace(batch, sender=str(name), link=1, number=self.numbers[name])
        self.numbers[name] += 1
        return batch

    def come(self, record, now):
        actions, deliveries = self.machine.record(record, None, now)
        self.take(actions)
        self.work_off(deliveries)

    def tick(self, now):
        actions, deliveries = self.machine.tick(now)
        self.take(actions)
        self.work_off(deliveries)

    def work_off(self, deliveries):
        """Do with deliveries what a stage's process does."""
        for delivery in deliveries:
            batch = delivery.batch
            readable = batch.kind != Kind.EVENTS or self.draw(st.integers(0, 5))
            if readable:
                work = self.machine.receiver.plan(batch, [b"message"] * count_of(batch))
            else:
                batch = end_all(batch, Reason.QUARANTINED)
                work = self.machine.receiver.plan(batch, ())
            outcomes = [self.outcome(batch) for _ in work]
            self.take(self.machine.finish(batch, work, outcomes, 0.001))

    def outcome(self, batch):
        if batch.kind == Kind.START:
            return b"start"
        output = self.draw(outputs) if batch.kind == Kind.EVENTS else Output((b"last",), 4)
        if not self.folds:
            return output
        return Folded(output, None, lambda totals: b"stop")


def relay(name):
    return make_relay(CHAIN, name, incarnation=LIFE, flushes=False)


def boundary(name):
    return make_fold(
        CHAIN,
        name,
        incarnation=LIFE,
        holds=True,
        memory=FoldState(next_epoch=1),
        make_early_stop=make_early_stop,
    )


@pytest.mark.parametrize(
    ("stage", "make"),
    [("work", relay), ("file", relay), ("live", relay), ("fold", boundary)],
    ids=["operator", "publisher", "subscriber", "fold"],
)
@fuzzed(15)
@given(data=st.data())
def test_any_record_at_a_stage_that_receives(stage, make, data):
    receiver = Receiver(stage, data.draw, make)
    for now in range(1, STEPS):
        if data.draw(st.integers(0, 3)) == 0:
            receiver.take(receiver.machine.back(data.draw(back_records), float(now)))
        record = data.draw(data_records)
        if isinstance(record, Batch) and data.draw(st.booleans()):
            record = receiver.fit(record)
        receiver.come(record, float(now))
        receiver.tick(float(now))


def volatile(name):
    return make_source(
        CHAIN,
        name,
        epoch=1,
        incarnation=LIFE,
        new_run=lambda: "run",
        make_early_stop=make_early_stop,
    )


def replayable(name):
    return make_source(
        CHAIN,
        name,
        epoch=1,
        memory=JournalState(epoch=1),
        incarnation=LIFE,
        new_run=lambda: "run",
        make_early_stop=make_early_stop,
    )


@pytest.mark.parametrize("make", [volatile, replayable])
@fuzzed(25)
@given(data=st.data())
def test_any_record_at_a_source(make, data):
    name = ReplicaName("src", 0)
    source, surroundings = make(name), Surroundings("src")
    surroundings.take(source.connect())
    for each in sorted(surroundings.below):
        surroundings.take(source.record(Hello(PROTOCOL_VERSION, *each, incarnation=70), 0.0))
    handed = 0
    for now in range(1, STEPS):
        surroundings.take(source.record(data.draw(back_records), float(now)))
        if not source.blocked and data.draw(st.booleans()):
            tokens = (handed, handed + 1)
            intake = InputBatch(Kind.EVENTS, [b"a", b"b"], tokens, 2)
            surroundings.take(source.accept(intake, float(now)))
            handed += 2
        surroundings.take(source.tick(float(now)))
    assert surroundings.released <= handed
