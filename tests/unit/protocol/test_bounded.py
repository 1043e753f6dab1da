"""Nothing grows with the number of runs, epochs, lives or deaths: a chain runs for years.

Chains of the model run for long and for twice as long; then every container of every machine is
looked at. Runs with a Start alternate with those without, which no Stop ends.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from unit.protocol.dying import DyingWorld
from unit.protocol.model import Faults, World, chain, listener, operator, publisher
from unit.protocol.replaying import ReplayingWorld
from unit.protocol.topologies import OVERLAPPING, TOPOLOGIES

from arroyo.codec import Ack, Credit
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold import outputs as fold_outputs
from arroyo.protocol.fold import pending_inputs
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.receiving.delayed_replies import DelayedReplies
from arroyo.protocol.values import bounded_table, history

pytestmark = pytest.mark.usefixtures("small_batches")

RUNS = 40
CHANCE = 12
"""So much larger a container may be by chance; one entry for each further run would be more."""

OPAQUE = ".items"
"""Messages, whose content is the model's business."""

LOSSY = chain(
    listener("src"),
    operator("pass", "~src"),
    operator("fold", "~src"),
    publisher("out", "pass"),
    operator("fold_again", "fold"),
    publisher("out_again", "fold_again"),
    publisher("live", "~fold", "~pass"),
)
BEST_EFFORT = chain(
    listener("src", delivery="best-effort"),
    operator("pass", "src", replicas=2),
    operator("fold", "pass"),
    publisher("out", "fold"),
    publisher("other", "pass"),
)


@pytest.fixture
def small_bounds(monkeypatch):
    """With real ones it takes thousands of runs until nothing grows any more."""
    for module, name in [
        (bounded_table, "LIMIT"),
        (bounded_table, "KEPT_OF_EACH"),
        (bounded_table, "OPEN_RUNS"),
        (run_gate, "CLOSED_RUNS"),
        (run_gate, "LIVES"),
        (fold_outputs, "FORMER_RUNS"),
        (pending_inputs, "KNOWN_RUNS"),
        (history, "TRANSITIONS"),
    ]:
        monkeypatch.setattr(module, name, 8)


def contents(machine: Any) -> Counter[str]:
    """How much is in each container of a machine and of all that it is made of, by where it is."""
    found: Counter[str] = Counter()
    seen: set[int] = set()

    def look(thing: Any, place: str) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, dict | list | deque | set | frozenset | tuple):
            if not isinstance(thing, tuple):
                found[place] += len(thing)
            if place.endswith(OPAQUE):
                return
            for each in thing.values() if isinstance(thing, dict) else thing:
                look(each, f"{place}[]")
        elif type(thing).__module__.startswith("arroyo.protocol"):
            for name in attributes(thing):
                look(getattr(thing, name), f"{place}.{name}")

    look(machine, type(machine).__name__)
    return found


def attributes(thing: Any) -> list[str]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    fields = getattr(thing, "__struct_fields__", ())
    return [name for name in (*vars_of(thing), *slots, *fields) if hasattr(thing, name)]


def vars_of(thing: Any) -> list[str]:
    return list(getattr(thing, "__dict__", ()))


def after(world: World) -> Counter[str]:
    """Run a world to its end; returns what is in the machines of all its replicas then."""
    while world._step():
        pass
    found: Counter[str] = Counter()
    left = [*getattr(world, "memories", {}).items(), *getattr(world, "left", {}).items()]
    machines = [(node.name, node.machine) for node in world.nodes.values()]
    for name, machine in (*machines, *left):
        found.update({f"{name}: {place}": count for place, count in contents(machine).items()})
    return found


def assert_bounded(play: Callable[[int], Counter[str]], runs: int) -> None:
    """Fail if anything grows with twice as many runs, and again with twice as many as these.

    What was in the midst of something at the end of a world may be more by chance, but not twice.
    """
    short, long = play(runs), play(2 * runs)
    assert short
    grown = {place for place, count in long.items() if count > short[place] + CHANCE}
    if grown:
        longer = play(4 * runs)
        grown = {place for place in grown if longer[place] > long[place] + CHANCE}
        assert {place: (short[place], long[place], longer[place]) for place in grown} == {}


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("deaths", [0, 1])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_no_machine_grows_with_runs_and_deaths(topology, deaths):
    def play(runs):
        faults = Faults(kills=deaths * runs // 2, leaves=deaths * runs // 8, repeats=deaths * runs)
        return after(World(TOPOLOGIES[topology], "1S1T" * runs, 1, faults))

    assert_bounded(play, RUNS)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("kind", [DyingWorld, ReplayingWorld])
@pytest.mark.parametrize("topology", ["ordered operator", "folds in a row", "two sources"])
def test_no_machine_grows_with_the_deaths_of_sources(topology, kind):
    def play(runs):
        faults = Faults(kills=runs // 4)
        return after(kind(TOPOLOGIES[topology], "1S1T" * runs, 1, faults, source_kills=runs // 2))

    assert_bounded(play, RUNS)


class ForgivingWorld(World):
    """A Start may come again to who has given up waiting for its Stop."""

    def _watch(self, *_):
        pass


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("script", ["S1T", "1S1T"])
def test_no_machine_grows_with_starts_and_stops_that_pub_sub_has_lost(monkeypatch, script):
    monkeypatch.setattr("unit.protocol.model.SUBSCRIBER_RECORDS", 1)

    def play(runs):
        return after(ForgivingWorld(LOSSY, script * runs, 1, Faults()))

    assert_bounded(play, 4 * RUNS)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("kind", [World, DyingWorld])
def test_no_machine_grows_with_runs_that_overlap(kind):
    deaths = {"source_kills": RUNS // 2} if kind is DyingWorld else {}

    def play(runs):
        return after(kind(OVERLAPPING, "1S1T" * runs, 1, Faults(kills=runs // 2), **deaths))

    assert_bounded(play, RUNS)


@pytest.mark.usefixtures("small_bounds")
def test_no_machine_grows_where_what_is_lost_does_not_come_again():
    def play(runs):
        return after(World(BEST_EFFORT, "1S1T" * runs, 1, Faults(kills=runs // 2)))

    assert_bounded(play, RUNS)


def test_the_real_bounds_hold_over_thousands_of_runs():
    def play(runs):
        return after(World(TOPOLOGIES["fold"], "1S1T" * runs, 1, Faults()))

    assert_bounded(play, 800)


def test_delayed_replies_do_not_grow_with_links_and_epochs():
    replies = DelayedReplies()

    def play(numbers):
        for number in numbers:
            for name in (ReplicaName("a", 0), ReplicaName("b", 0)):
                replies.put(name, Credit("c", 0, number, 1, 0.1), 0.0)
                replies.put(name, Ack("c", 0, str(name), number, 0, ((0, 1),)), 0.0)
            replies.take()
        return contents(replies)

    assert play(range(100)) == play(range(100, 2000))
