"""A source over several lives: what it notes, what it takes up again, what it recognises."""

from __future__ import annotations

import itertools
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.protocol.below import make_context, make_downstream, make_source

from arroyo.codec import Ack, Hello, Kind, Lost, Reason, Suspect, Tombstone
from arroyo.errors import EncodeError, StageError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.recovery.journal import JournalState, NoteEntry, mark_of
from arroyo.protocol.recovery.replayable import Replayable
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.actions import Outbox, PutInQuarantine, Release, Transmit

NAME = ReplicaName("s", 0)


class Input:
    """What outlasts the lives of a source: its notes, and what was acknowledged to its input."""

    def __init__(self, *, ordered=False):
        self.memory = JournalState(epoch=7)
        self.acknowledged = []
        self.runs = (f"run{number}" for number in itertools.count(1))
        self.places = {}
        self.lives = 0
        self.ordered = ordered

    def see(self, batch):
        """An event has one place, and a place one event, over all lives."""
        if batch.record.kind == Kind.EVENTS and batch.items:
            for number, item in zip(range(*batch.record.ranges[0]), batch.items, strict=True):
                assert self.places.setdefault(number, item) == item
                assert list(self.places.values()).count(item) == 1

    def live(self, budget=None, *, keeps=True):
        self.lives += 1
        return Life(self, budget, keeps)


class DeathError(Exception):
    """The budget of actions is used up: the process dies before the next one."""


class Life:
    """One life of the source, with a sink that does what the test says."""

    def __init__(self, given, budget, keeps):
        self.input = given
        self.budget = budget
        self.keeps = keeps
        """Whether there is room in quarantine."""
        outbox, life = Outbox(), given.lives * 1000
        downstream = make_downstream(NAME, outbox, incarnation=life, links=life)
        memory = msgspec.msgpack.decode(msgspec.msgpack.encode(given.memory), type=JournalState)
        self.source = make_source(
            make_context(NAME, downstream, outbox, incarnation=life, ordered=given.ordered),
            outbox,
            epoch=memory.epoch,
            first=memory.frontier,
            recover=partial(Replayable, memory=memory),
            new_run=lambda: next(given.runs),
        )
        self.batches = []
        self.isolated = []
        self.released = 0
        self.do(self.source.connect())
        self.do(self.source.record(Hello(1, "b", 0, 1), 0.0))
        self.do(self.source.begin(0.0))

    def do(self, actions):
        """Return the batches among actions."""
        new, asked = [], []
        for action in actions:
            if self.budget is not None:
                if self.budget == 0:
                    raise DeathError
                self.budget -= 1
            if isinstance(action, NoteEntry):
                self.input.memory.apply(action.entry)
            elif isinstance(action, Release):
                self.released += action.messages
                self.input.acknowledged += [token for token in action.tokens if token is not None]
            elif isinstance(action, PutInQuarantine):
                self.isolated.append((action.item, action.deaths, action.start))
                asked.append(action.suspect)
            elif isinstance(action, Transmit) and hasattr(action.record, "ranges"):
                new.append((action.record, list(action.items)))
                self.input.see(action)
        for suspect in asked:
            new += self.do(self.source.quarantined(suspect, kept=self.keeps))
        self.batches += new
        return new

    def start(self, item="start", token=None):
        return self.do(self.source.accept(InputBatch(Kind.START, [item], [token], 1), 0.0))

    def hand(self, *items):
        return self.do(self.source.accept(InputBatch(Kind.EVENTS, items, items, len(items)), 0.0))

    def stop(self, token=None):
        intake = InputBatch(
            Kind.STOP, tokens=[token], size=1, make_stop=lambda totals: totals.as_data()
        )
        return self.do(self.source.accept(intake, 0.0))

    def acknowledge(self, *ranges, stones=()):
        record = Ack("b", 0, "s.0", 7, 0, ranges, stones)
        return self.do(self.source.record(record, 0.0))

    def accuse(self, sequence, incarnation):
        record = Suspect("b", 0, incarnation, "s.0", 7, sequence, "died of a segmentation fault")
        return self.do(self.source.record(record, 0.0))

    def finish(self, **how):
        return self.do(self.source.finish(0.0, **how))


def brief(batches):
    return [(record.kind.name, record.run, record.ranges, items) for record, items in batches]


def died_with_two_of_three_in_flight():
    """Start 0 and event 1 finished; 2 and 3 under way."""
    given = Input()
    life = given.live()
    life.start()
    life.hand("a", "b", "c")
    life.acknowledge((0, 2))
    assert given.acknowledged == ["a"]
    return given


def test_what_was_in_flight_comes_again_with_the_same_sequences():
    life = died_with_two_of_three_in_flight().live()
    assert life.source.epoch == 7
    assert life.source.open_places == 2
    assert life.start() == []
    assert brief(life.hand("b", "c", "d")) == [
        ("EVENTS", "run1", ((2, 4),), ["b", "c"]),
        ("EVENTS", "run1", ((4, 5),), ["d"]),
    ]
    assert life.source.open_places == 0


def test_everybody_below_is_told_the_open_start_again_in_a_new_attempt():
    given = died_with_two_of_three_in_flight()
    first = given.live()
    ((record, items),) = first.batches
    assert (record.kind, record.run, record.ranges, items) == (
        Kind.START,
        "run1",
        ((0, 1),),
        ["start"],
    )
    assert given.live().batches[0][0].attempt > record.attempt > 0


def test_a_start_that_was_not_finished_is_sent_by_the_source_and_finished_once():
    given = Input()
    given.live().start("start", "token of start")
    life = given.live()
    assert life.start("start", "token of start") == []
    assert life.released == 1
    life.acknowledge((0, 1))
    assert given.acknowledged == ["token of start"]
    assert life.source.ledger.empty


def test_a_second_start_is_another_run():
    life = died_with_two_of_three_in_flight().live()
    life.start()
    life.hand("b", "c")
    life.start("next")
    stop, start = brief(life.acknowledge((2, 4)))
    assert stop[3][0][0] == "another Start came before the Stop"
    assert start[:2] == ("START", "run2")


def test_a_start_with_another_token_than_that_of_the_open_run_is_another_run():
    given = Input()
    first = given.live()
    first.start("start", 1)
    first.acknowledge((0, 1))
    life = given.live()
    stop, start = brief(life.start("start", 9) or life.acknowledge((0, 1)))
    assert (stop[0], start[:2]) == ("STOP", ("START", "run2"))


def test_what_was_finished_and_not_acknowledged_is_acknowledged_when_it_comes_again():
    given = Input()
    life = given.live()
    life.start()
    life.hand("a", "b")
    life.budget = 1  # it notes the frontier and dies
    with pytest.raises(DeathError):
        life.acknowledge((0, 3))
    assert given.acknowledged == []
    for _ in range(2):
        life = given.live()  # the second one does not know that the first has done it
        assert given.acknowledged[:2] == ["a", "b"]
        life.start()
    assert life.hand("a", "b", "c") != []
    assert brief(life.batches)[-1] == ("EVENTS", "run1", ((3, 4),), ["c"])
    assert life.released == 3


@pytest.mark.parametrize("ordered", [False, True])
def test_the_place_of_what_the_input_has_lost_is_passed_over_and_told_in_the_stop(ordered):
    given = died_with_two_of_three_in_flight()
    given.ordered = ordered
    life = given.live()
    life.start()
    batches = life.hand("c")
    assert batches[-1][0].ranges == ((3, 4),)
    stones = [stone for record, _ in batches for stone in record.tombstones]
    assert stones == ([Tombstone(2, 3, Reason.FINISHED)] if ordered else [])
    life.stop()
    ((_, (totals,)),) = life.acknowledge((3, 4))
    assert (totals["sent"], totals["lost"], totals["missing"]) == (3, 1, [[1, 2]])
    assert life.source.lost == 1


def test_what_is_new_ends_the_wait_for_what_was_in_flight():
    life = died_with_two_of_three_in_flight().live()
    life.start()
    assert brief(life.hand("d")) == [("EVENTS", "run1", ((4, 5),), ["d"])]
    assert life.source.ledger.frontier == 4


def test_so_does_the_end_of_the_input():
    life = died_with_two_of_three_in_flight().live()
    life.start()
    ((record, ((reason, totals),)),) = life.finish()
    assert record.kind == Kind.STOP
    assert reason == "the source ended in mid-run"
    assert totals["lost"] == 2


def test_a_source_that_is_stopped_leaves_its_run_and_its_places_to_the_next_life():
    given = died_with_two_of_three_in_flight()
    life = given.live()
    life.start()
    life.hand("b")
    life.finish(final=False, resumes=True)
    life.acknowledge((2, 3))
    assert life.source.ended
    assert life.source.lost == 0
    last = given.live()
    last.start()
    assert brief(last.hand("c")) == [("EVENTS", "run1", ((3, 4),), ["c"])]


def test_a_stop_that_was_sent_is_sent_again_and_what_comes_is_another_run():
    given = died_with_two_of_three_in_flight()
    life = given.live()
    life.start()
    life.hand("b", "c")
    life.stop()
    life.acknowledge((2, 4))
    last = given.live()
    assert [kind for kind, *_ in brief(last.batches)] == ["START", "STOP"]
    assert brief(last.start())[0][:2] == ("START", "run2")
    last.acknowledge((4, 5))
    assert last.source.ledger.frontier == 5


def test_a_stop_with_a_token_is_known_again():
    given = Input()
    life = given.live()
    life.start("start", 1)
    life.acknowledge((0, 1))
    life.stop(2)
    last = given.live()
    assert last.stop(2) == []
    last.acknowledge((1, 2))
    assert given.acknowledged == [1, 1, 2]  # the second life can't know of the first one


def test_totals_count_what_ended_on_its_way_in_former_lives():
    given = Input()
    life = given.live()
    life.start()
    life.hand("a", "b", "c")
    life.acknowledge((0, 1), stones=(Tombstone(1, 3, Reason.FILTERED),))
    life = given.live()
    life.start()
    life.hand("c")
    life.stop()
    ((_, (totals,)),) = life.acknowledge(stones=(Tombstone(3, 4, Reason.SKIPPED),))
    assert (totals["sent"], totals["filtered"], totals["skipped"]) == (3, 2, 1)
    assert totals["complete"]


def test_a_suspect_of_a_former_life_comes_again_alone():
    given = died_with_two_of_three_in_flight()
    life = given.live()
    for _ in range(2):
        life.accuse(2, incarnation=3)
    life = given.live()
    life.start()
    batches = life.hand("b", "c")
    assert [(record.ranges, record.suspect) for record, _ in batches] == [
        (((3, 4),), 0),
        (((2, 3),), 3),
    ]
    assert life.isolated == []


def test_deaths_by_a_message_are_counted_over_the_lives_of_its_source():
    given = died_with_two_of_three_in_flight()
    for incarnation in (3, 4, 5):
        life = given.live()
        life.accuse(2, incarnation)
    life = given.live()
    life.start()
    (_, items), (record, nothing) = life.hand("b", "c")
    assert life.isolated == [("b", 3, "start")]
    assert (items, nothing) == (["c"], [])
    assert record.tombstones == (Tombstone(2, 3, Reason.QUARANTINED),)
    life.acknowledge((3, 4), stones=record.tombstones)
    life.stop()
    ((_, (totals,)),) = life.batches[-1:]
    assert totals["quarantined"] == 1
    assert given.memory.suspects == ()


def test_a_message_that_can_not_be_kept_goes_out_again_behind_what_came_with_it():
    given = died_with_two_of_three_in_flight()
    for incarnation in (3, 4, 5):
        life = given.live(keeps=False)
        life.accuse(2, incarnation)
    life = given.live(keeps=False)
    life.start()
    assert [items for _, items in life.hand("b", "c")] == [["c"], ["b"]]
    assert life.isolated == [("b", 3, "start")]


def test_attempts_go_on_counting_over_lives():
    given = died_with_two_of_three_in_flight()
    life = given.live()
    life.start()
    life.hand("b", "c")
    life.do(life.source.record(Lost("b", 0), 1.0))
    before = life.do(life.source.tick(9.0))[-1][0].attempt
    assert given.live().batches[0][0].attempt > before


def test_what_people_bring_back_waits_for_what_was_in_flight():
    life = died_with_two_of_three_in_flight().live()
    back = InputBatch(Kind.EVENTS, ["back"], [None], 1, enters="b")
    assert life.do(life.source.accept(back, 0.0)) == []
    life.start()
    assert [items for *_, items in brief(life.hand("b", "c"))] == [["b", "c"], ["back"]]


def test_an_event_without_a_token_is_the_listeners_mistake():
    life = Input().live()
    with pytest.raises(StageError, match="without a token"):
        life.hand(None)


def test_a_token_that_cannot_be_kept_is_named():
    with pytest.raises(EncodeError, match="can't be kept"):
        mark_of(object())


@given(st.data())
def test_over_any_deaths_each_message_has_one_place_and_what_is_there_arrives(data):
    """Files that vanish between two lives included: no place is ever taken by another one."""
    names = [f"f{number}" for number in range(data.draw(st.integers(0, 12)))]
    given = Input(ordered=data.draw(st.booleans()))
    present = list(names)
    for budget in [*data.draw(st.lists(st.integers(0, 25), max_size=6)), None]:
        try:
            live_on(given, budget, present)
        except DeathError:
            gone = data.draw(st.sets(st.sampled_from(names))) if names else set()
            present = [name for name in present if name not in gone]
    assert set(present) <= set(given.acknowledged)
    assert list(given.places.values()) == [name for name in names if name in given.places.values()]
    assert given.memory.next == given.memory.frontier


def live_on(given, budget, present):
    """One life: hand over what is left, with a sink that finishes now and then, and then all."""
    life = given.live(budget)
    life.start()
    left = [name for name in present if name not in given.acknowledged]
    for index in range(0, len(left), 3):
        life.hand(*left[index : index + 3])
        if index % 2:
            life.acknowledge((life.source.ledger.frontier, life.source.ledger.next))
    life.stop()
    life.finish()
    while not life.source.ledger.empty:
        ledger = life.source.ledger
        life.acknowledge(*((number, number + 1) for number in range(ledger.frontier, ledger.next)))
