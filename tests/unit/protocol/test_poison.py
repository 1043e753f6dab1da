"""Messages that end processes: what a source does about them, and a stage that came back."""

from __future__ import annotations

import msgspec
import pytest
from unit.protocol.below import make_relay
from unit.protocol.source.test_source import Sink

from arroyo.codec import Batch, Hello, Kind, Lost, Open, Reason, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.source.suspects import DEATHS
from arroyo.protocol.values.actions import Outbox, PutInQuarantine, Reply
from arroyo.protocol.values.history import History


def suspect(sequence, life, **changes):
    made = Suspect("b", 0, life, "s.0", 1, sequence, "died of a segmentation fault")
    return msgspec.structs.replace(made, **changes)


class Poisoned(Sink):
    """A source whose messages end the stage below; `die` is one death and the life after it."""

    def __init__(self, *, keeps=True):
        super().__init__()
        self.keeps = keeps
        """Whether there is room in quarantine."""
        self.accept(Kind.EVENTS, "a", "b", "c")
        self.life = 1

    def die(self, sequence):
        """Return what is told about the message, and what is sent again."""
        self.life += 1
        now = float(self.life)
        told = list(self.source.record(suspect(sequence, self.life), now))
        for action in told:
            if isinstance(action, PutInQuarantine):
                self.take(self.source.quarantined(action.suspect, kept=self.keeps))
        self.take(self.source.record(Hello(1, "b", 0, self.life), now))
        return told, self.take(self.source.tick(now + 1.0))


def test_a_suspect_is_sent_again_alone_and_marked():
    _, sent = Poisoned().die(1)
    assert [(record.ranges, record.suspect, items) for record, items in sent] == [
        (((0, 1), (2, 3)), 0, ["a", "c"]),
        (((1, 2),), 2, ["b"]),
    ]


def test_a_replica_that_tells_of_what_is_finished_has_told_all_the_same():
    chain = Poisoned()
    chain.die(1)
    chain.acknowledge((0, 1))
    _, sent = chain.die(0)
    # It takes no suspect that left before the source had heard of it.
    assert [record.suspect for record, _ in sent] == [0, 3]


def test_at_the_third_death_it_is_isolated_and_a_tombstone_goes_in_its_place():
    chain = Poisoned()
    for _ in range(DEATHS - 1):
        told, _ = chain.die(1)
        assert told == []
    (isolate,), sent = chain.die(1)
    assert (isolate.item, isolate.deaths) == ("b", DEATHS)
    (record, items) = sent[0]
    assert items == ["a", "c"]
    assert [(stone.first, stone.end, stone.reason) for stone in record.tombstones] == [
        (1, 2, Reason.QUARANTINED)
    ]
    assert len(sent) == 1


def test_a_message_that_quarantine_cannot_keep_goes_out_again_alone():
    chain = Poisoned(keeps=False)
    for _ in range(DEATHS):
        told, sent = chain.die(1)
    assert [type(action) for action in told] == [PutInQuarantine]
    assert [items for _, items in sent] == [["a", "c"], ["b"]]
    (asked_again,), _ = chain.die(1)
    assert asked_again.deaths == DEATHS + 1


@pytest.mark.parametrize(
    ("kept", "comes"), [(True, ((), Reason.QUARANTINED)), (False, (((1, 2),), None))]
)
def test_a_message_is_withheld_until_it_is_known_whether_quarantine_keeps_it(kept, comes):
    chain = Poisoned()
    for life in range(2, 2 + DEATHS):
        told = chain.source.record(suspect(1, life), 0.0)
    (asked,) = told
    chain.take(chain.source.record(Hello(1, "b", 0, life), 1.0))
    assert [items for _, items in chain.take(chain.source.tick(3.0))] == [["a", "c"]]
    ((record, _),) = chain.take(chain.source.quarantined(asked.suspect, kept=kept))
    reason = record.tombstones[0].reason if record.tombstones else None
    assert (record.ranges, reason) == comes
    assert chain.source.quarantined(asked.suspect, kept=kept) == []


def test_an_answer_about_what_is_finished_meanwhile_changes_nothing():
    chain = Poisoned()
    for life in range(2, 2 + DEATHS):
        told = chain.source.record(suspect(1, life), 0.0)
    chain.acknowledge((0, 3))
    assert chain.source.quarantined(told[0].suspect, kept=True) == []


def test_a_message_that_is_in_quarantine_is_isolated_no_more():
    # A replica tells of a death again in each answer to an Open.
    chain = Poisoned()
    for _ in range(DEATHS):
        chain.die(1)
    assert list(chain.source.record(suspect(1, chain.life), 9.0)) == []


def test_what_can_not_be_kept_is_offered_again_at_the_next_death():
    chain = Poisoned()
    for life in range(2, 2 + DEATHS):
        told = list(chain.source.record(suspect(1, life), 0.0))
    (asked,) = told
    assert chain.source.quarantined(asked.suspect, kept=False) == []
    assert len(chain.source.record(suspect(1, 99), 0.0)) == 1


@pytest.mark.parametrize(
    "changes", [{"source": "other.0"}, {"epoch": 2}, {"sequence": 99}, {"sequence": 0}]
)
def test_what_is_not_in_flight_here_can_not_be_suspected(changes):
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    for life in range(2, 3 + DEATHS):
        record = msgspec.structs.replace(suspect(1, life), **changes)
        assert list(sink.source.record(record, 0.0)) == []


NAME, SOURCE = ReplicaName("b", 0), ReplicaName("s", 0)


def relay(known):
    downstream = Downstream(7, history=History())
    made = make_relay(
        NAME, {SOURCE: False}, [SOURCE], downstream, Outbox(), incarnation=7, suspect=known
    )
    list(made.record(Open(1, "s", 0, 1, 1), (), 0.0)[0])
    return made


def batch(*ranges, **changes):
    made = Batch("s.0", 1, 0, Kind.EVENTS, "run", "s.0", 1, 0, 0, 0, implicit=True, ranges=ranges)
    return msgspec.structs.replace(made, **changes)


def test_a_stage_tells_of_the_suspect_before_its_hello():
    records = [action.record for action in relay(suspect(3, 7)).connect()]
    assert isinstance(records[0], Suspect)
    assert isinstance(records[1], Hello)


@pytest.mark.parametrize(
    ("came", "taken"),
    [
        (batch((0, 3)), True),
        (batch((0, 5)), False),  # it left before the source had heard
        (batch((3, 4), suspect=6), False),  # that was an earlier life's word
        (batch((9, 10), suspect=6), False),  # another suspect, as it was then
        (batch((3, 4), suspect=7), True),
        (batch((3, 4), suspect=8), True),
        (batch((0, 5), epoch=2), True),
        (batch((0, 5), reliable=False), True),  # nobody would send it again
    ],
)
def test_it_takes_a_suspect_only_from_a_source_that_has_heard(came, taken):
    actions, deliveries = relay(suspect(3, 7)).record(came, (), 0.0)
    assert bool(deliveries) == taken
    lost = [action for action in actions if isinstance(action, Reply)]
    assert any(isinstance(action.record, Lost) for action in lost) != taken


def test_without_a_suspect_everything_is_taken():
    _, deliveries = relay(None).record(batch((0, 5), suspect=3), (), 0.0)
    assert deliveries
