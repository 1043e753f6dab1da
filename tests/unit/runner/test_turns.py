"""Who has a turn when, with scripts in place of shells."""

from pathlib import Path

import pytest

from arroyo.codec import End
from arroyo.config.graph import Chain, Input, Stage
from arroyo.errors import StageError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Transmit
from arroyo.runner.process.stage_context import Wait
from arroyo.runner.turns import MemoryContext, Turns

FOREVER = Wait(1e9)


class Script:
    """A shell that tells of its turns, and does in each what a script says; None: it ends."""

    def __init__(self, name, told, *steps):
        self._name = name
        self._told = told
        self._steps = steps

    def turns(self):
        try:
            for step in self._steps:
                self._told.append(self._name)
                wait = step() if callable(step) else step
                yield wait or FOREVER
        finally:
            self._told.append(f"{self._name} closed")


@pytest.fixture
def turns():
    """The turns of a line of three stages."""
    made = {}
    for name, role in (("a", "listener"), ("b", "operator"), ("c", "publisher")):
        inputs = (Input(list(made)[-1]),) if made else ()
        made[name] = Stage(name, role, "own:Stage", inputs=inputs, replicas=1 + (name == "b"))
    return Turns(Chain("line", Path("/"), Path("/chain.toml"), made))


def begin(turns, **steps):
    """Have stages begin, the lowest first; returns what they tell from then on."""
    told = []
    for name in sorted(steps, reverse=True):
        turns.begin(name, Script(name, told, FOREVER, *steps[name]))
    told.clear()
    return told


def send(turns, above, below):
    record = End(f"{above}.0", 1, True)
    turns.links[above].perform([Transmit(ReplicaName(below, 0), record)])


def test_each_stage_is_there_once(turns):
    assert {stage.replicas for stage in turns.chain.stages.values()} == {1}


def test_the_lowest_that_has_something_to_do_comes_first(turns):
    told = begin(turns, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    assert turns.give() > 0
    for name in "acb":
        turns.links[name].wake()
    for name in "cba":
        assert turns.give() == 0
        list(turns.links[name].poll(0.0))
    assert told == ["c", "b", "a"]
    assert turns.give() > 0


def test_a_stage_has_its_turn_when_its_time_has_come(turns):
    told = begin(turns, c=[Wait(0.0), FOREVER])
    turns.links["c"].wake()
    assert [turns.give(), turns.give()] == [0, 0]
    assert told == ["c", "c"]


def test_one_that_can_not_take_data_is_left_alone_with_it(turns):
    told = begin(turns, b=[FOREVER], c=[Wait(1e9, deaf=True), FOREVER])
    turns.links["c"].wake()
    turns.give()
    list(turns.links["c"].poll(0.0))
    send(turns, "b", "c")
    assert turns.give() > 0
    assert told == ["c"]


def test_who_gives_way_has_those_below_work_and_not_itself(turns):
    context = MemoryContext(turns, "b", Path("/nowhere"))

    def step():
        turns.links["a"].wake()
        send(turns, "b", "c")
        context.give_way()

    told = begin(
        turns, a=[FOREVER], b=[step], c=[lambda: list(turns.links["c"].poll(0.0)) and None]
    )
    turns.links["b"].wake()
    turns.give()
    assert told == ["b", "c"]


def test_a_stage_is_asked_to_drain_when_those_above_have_ended(turns):
    context = MemoryContext(turns, "b", Path("/nowhere"))
    begin(turns, a=[], b=[FOREVER])
    assert not context.signals.asked
    turns.links["a"].wake()
    turns.give()
    assert context.signals.asked
    assert turns.have_ended("a")
    assert turns.links["b"].has_come()


def test_a_listener_hears_first_that_it_is_asked_to_stop(turns):
    context = MemoryContext(turns, "a", Path("/nowhere"))
    told = begin(turns, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    turns.links["c"].wake()
    turns.stop_asked = lambda: True
    assert context.signals.asked
    turns.give()
    assert told == ["a", "c"]


def fail():
    raise StageError("no beam")


def test_what_a_listener_ends_with_is_kept_and_what_another_stage_fails_with_raised(turns):
    begin(turns, a=[fail], b=[fail])
    turns.links["a"].wake()
    turns.give()
    assert [str(error) for error in turns.errors] == ["no beam"]
    with pytest.raises(StageError, match="no beam"):
        turns.give()  # it was told that those above have ended
    assert turns.have_ended("ab")


def test_at_the_end_those_that_have_not_ended_are_closed_the_highest_first(turns):
    told = begin(turns, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    turns.close()
    assert told == ["a closed", "b closed", "c closed"]
