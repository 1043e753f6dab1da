"""Who has a turn when, with scripts in place of shells."""

from pathlib import Path

import pytest

from arroyo.codec import End
from arroyo.config.graph import Chain, Input, Stage
from arroyo.errors import StageError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Transmit
from arroyo.runner.cooperative_scheduler import CooperativeScheduler, MemoryContext
from arroyo.runner.process.stage_context import Wait

FOREVER = Wait(1e9)


class Script:
    """A shell that tells of its steps, and does in each what a script says; None: it ends."""

    def __init__(self, name, told, *steps):
        self._name = name
        self._told = told
        self._steps = steps

    def steps(self):
        try:
            for step in self._steps:
                self._told.append(self._name)
                wait = step() if callable(step) else step
                yield wait or FOREVER
        finally:
            self._told.append(f"{self._name} closed")


@pytest.fixture
def scheduler():
    """The scheduler of a line of three stages."""
    made = {}
    for name, role in (("a", "listener"), ("b", "operator"), ("c", "publisher")):
        inputs = (Input(list(made)[-1]),) if made else ()
        made[name] = Stage(name, role, "own:Stage", inputs=inputs, replicas=1 + (name == "b"))
    return CooperativeScheduler(Chain("line", Path("/"), Path("/chain.toml"), made))


def begin(scheduler, **steps):
    """Have stages begin, the lowest first; returns what they tell from then on."""
    told = []
    for name in sorted(steps, reverse=True):
        scheduler.begin(name, Script(name, told, FOREVER, *steps[name]))
    told.clear()
    return told


def send(scheduler, above, below):
    record = End(f"{above}.0", 1, True)
    scheduler.links[above].perform([Transmit(ReplicaName(below, 0), record)])


def test_each_stage_is_there_once(scheduler):
    assert {stage.replicas for stage in scheduler.chain.stages.values()} == {1}


def test_the_lowest_that_has_something_to_do_comes_first(scheduler):
    told = begin(scheduler, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    assert scheduler.run_next() > 0
    for name in "acb":
        scheduler.links[name].wake()
    for name in "cba":
        assert scheduler.run_next() == 0
        list(scheduler.links[name].poll(0.0))
    assert told == ["c", "b", "a"]
    assert scheduler.run_next() > 0


def test_a_stage_has_its_turn_when_its_time_has_come(scheduler):
    told = begin(scheduler, c=[Wait(0.0), FOREVER])
    scheduler.links["c"].wake()
    assert [scheduler.run_next(), scheduler.run_next()] == [0, 0]
    assert told == ["c", "c"]


def test_one_that_can_not_take_data_is_left_alone_with_it(scheduler):
    told = begin(scheduler, b=[FOREVER], c=[Wait(1e9, deaf=True), FOREVER])
    scheduler.links["c"].wake()
    scheduler.run_next()
    list(scheduler.links["c"].poll(0.0))
    send(scheduler, "b", "c")
    assert scheduler.run_next() > 0
    assert told == ["c"]


def test_who_gives_way_has_those_below_work_and_not_itself(scheduler):
    context = MemoryContext(scheduler, "b", Path("/nowhere"))

    def step():
        scheduler.links["a"].wake()
        send(scheduler, "b", "c")
        context.give_way()

    told = begin(
        scheduler, a=[FOREVER], b=[step], c=[lambda: list(scheduler.links["c"].poll(0.0)) and None]
    )
    scheduler.links["b"].wake()
    scheduler.run_next()
    assert told == ["b", "c"]


def test_a_stage_is_asked_to_drain_when_those_above_have_ended(scheduler):
    context = MemoryContext(scheduler, "b", Path("/nowhere"))
    begin(scheduler, a=[], b=[FOREVER])
    assert not context.signals.asked
    scheduler.links["a"].wake()
    scheduler.run_next()
    assert context.signals.asked
    assert scheduler.have_ended("a")
    assert scheduler.links["b"].has_come()


def test_a_listener_hears_first_that_it_is_asked_to_stop(scheduler):
    context = MemoryContext(scheduler, "a", Path("/nowhere"))
    told = begin(scheduler, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    scheduler.links["c"].wake()
    scheduler.stop_asked = lambda: True
    assert context.signals.asked
    scheduler.run_next()
    assert told == ["a", "c"]


def fail():
    raise StageError("no beam")


def test_what_a_listener_ends_with_is_kept_and_what_another_stage_fails_with_raised(scheduler):
    begin(scheduler, a=[fail], b=[fail])
    scheduler.links["a"].wake()
    scheduler.run_next()
    assert [str(error) for error in scheduler.errors] == ["no beam"]
    with pytest.raises(StageError, match="no beam"):
        scheduler.run_next()  # it was told that those above have ended
    assert scheduler.have_ended("ab")


def test_at_the_end_those_that_have_not_ended_are_closed_the_highest_first(scheduler):
    told = begin(scheduler, a=[FOREVER], b=[FOREVER], c=[FOREVER])
    scheduler.close()
    assert told == ["a closed", "b closed", "c closed"]
