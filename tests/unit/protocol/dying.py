"""The model's chains with inputs that can't be read again, and deaths of their sources.

What was under way when a source died is lost; its runs are closed by the next life, which finds
what the former one has noted, and the words of its status page.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs
from unit.protocol.model import BrokenPromiseError, Node, folds
from unit.protocol.mortal import MortalWorld
from unit.protocol.promises import outcomes, ways

from arroyo.codec import Kind
from arroyo.identifiers import ReplicaName
from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns, UnclosedRun, runs_left
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.source import Source

DEATH_AT_AN_ACTION = 0.02


@dataclass(slots=True)
class Life:
    """What outlives one life of a source."""

    noted: tuple[UnclosedRun, ...] = ()
    words: dict[str, int] = field(default_factory=dict)
    run_end: int = 0
    window: deque[InputBatch] = field(default_factory=deque)
    """What the source has not taken up yet."""
    handed: list[Any] = field(default_factory=list)
    """Events that the listener has handed over."""
    ends: list[int] = field(default_factory=list)
    """How many of them there were at each Start and Stop."""

    def hand_over(self, intake: InputBatch) -> None:
        self.window.append(intake)
        if intake.kind == Kind.EVENTS:
            self.handed += intake.items
        else:
            self.ends.append(len(self.handed))
            self.run_end = self.run_end or len(self.handed) + 1

    def open_run(self) -> int:
        """Look where the run ends that is open now; returns how many ends were before."""
        waiting = [intake.kind for intake in self.window if intake.kind != Kind.EVENTS]
        before = len(self.ends) - len(waiting)
        self.run_end = self.ends[before] + 1 if waiting else 0
        return before


@dataclass(slots=True)
class Begun:
    """Where a run begins among what its source was handed in one life."""

    life: Life
    first: int
    end: int
    """Which of the ends is the run's, if there are so many."""

    @property
    def items(self) -> list[Any]:
        ends = self.life.ends[self.end : self.end + 1]
        return self.life.handed[self.first : ends[0] if ends else None]


class DyingWorld(MortalWorld):
    """A world in which sources die too; what was in flight then is lost, its run is closed."""

    def __init__(self, *args: Any, source_kills: int) -> None:
        super().__init__(*args, source_kills=source_kills)
        self.lives: dict[ReplicaName, Life] = {}
        self.greeted: set[ReplicaName] = set()
        self.noted: set[tuple[str, str]] = set()
        """Source and name of each run with a Start or a Stop that may have left."""
        self.stops: dict[tuple[str, str], Any] = {}
        """What the Stop of each of these says, as far as it is known."""
        self.begun: dict[tuple[str, str], Begun] = {}

    def _make_source(self, node: Node) -> Source:
        self.greeted.discard(node.name)
        former = self.lives.get(node.name)
        left = runs_left(former.noted, former.words) if former and former.words else ()
        source = super()._make_source(node)
        counts = {"next": 0, "frontier": 0, "controls": 0}
        none = dict.fromkeys(("received", "unseen", "run_end", "arrived"), 0)
        none |= dict.fromkeys(("run_filtered", "run_skipped", "run_quarantined"), 0)
        self.lives[node.name] = Life(left, {"epoch": source.epoch, **counts, **none})
        return source

    def _feed(self, node: Node) -> None:
        life = self.lives[node.name]
        if node.name not in self.greeted:
            self.greeted.add(node.name)
            runs = [self._close(run) for run in life.noted if run.run]
            runs = [run for run in runs if run.stop is not None]
            self._do(node, node.machine.begin(self.now, runs))
        elif life.window:
            self._do(node, node.machine.accept(life.window.popleft(), self.now))
            self._look_for_end(node)
        elif not node.script:
            super()._feed(node)

    def _choices(self) -> list[Any]:
        choices = super()._choices()
        for name in self.greeted:
            node = self.nodes[name]
            if node.machine is not None and node.script:
                choices.append((self._hand_over, node))
        return choices

    def _hand_over(self, node: Node) -> None:
        """The listener may be ahead of its source."""
        life = self.lives[node.name]
        life.hand_over(node.script.popleft())
        life.words |= {"received": len(life.handed), "run_end": life.run_end}

    def _close(self, run: UnclosedRun) -> UnclosedRun:
        if run.stop is not None or run.start is None:
            return run
        return structs.replace(
            run, stop=("stop", "the source died in mid-run", run.totals.as_data())
        )

    def _act(self, node: Node, action: Any) -> bool:
        if node.stage.role != "listener":
            return super()._act(node, action)
        if self.faults["source_kill"] and self.random.random() < DEATH_AT_AN_ACTION:
            self.faults["source_kill"] -= 1
            self._bury(node)
            return False
        if isinstance(action, NoteRuns):
            self._note(node, action.runs)
        elif isinstance(action, NoteCounts):
            self.lives[node.name].words |= structs.asdict(action)
        return super()._act(node, action)

    def _note(self, node: Node, runs: tuple[UnclosedRun, ...]) -> None:
        life = self.lives[node.name]
        if runs and runs[-1].next is None and runs[-1] not in life.noted:
            first = life.words["next"] - life.words["controls"]
            self.begun[str(node.name), runs[-1].run] = Begun(life, first, life.open_run())
            life.words["run_end"] = life.run_end
        life.noted = runs
        for run in runs:
            key = str(node.name), run.run
            if run.start is not None or run.stop is not None:
                self.noted.add(key)
            if run.stop is not None and self.stops.setdefault(key, run.stop) != run.stop:
                raise BrokenPromiseError(f"{key} is closed by {run.stop} and {self.stops[key]}")


def check(world: DyingWorld) -> None:
    """Each replica of a sink has got the same Stop of each run that any of them may know."""
    for node in world.nodes.values():
        if node.stage.role != "publisher" or "pub-sub" in str(node.stage.inputs):
            continue
        sources = world.chain.sources_above(node.stage.name)
        above = {str(name) for stage in sources for name in stage.names}
        runs = {run for source, run in world.noted if source in above}
        stops = [entry for entry in node.journal if entry[0] == Kind.STOP]
        # Below a fold a run has the same name, and is the fold's.
        names = {stop[2] for stop in stops}
        if runs != names:
            raise BrokenPromiseError(f"{node.name} has got the Stops of {names}, not {runs}")
        starts = {entry[2] for entry in node.journal if entry[0] == Kind.START}
        if not starts <= runs:
            raise BrokenPromiseError(f"{node.name} has got a Start of {starts - runs}")
        for stop in stops:
            if stop[1] in above and stop[6] != world.stops[stop[1:3]]:
                raise BrokenPromiseError(f"{node.name} has got {stop}, not {world.stops}")
    for (source, run), stop in world.stops.items():
        _check_losses(world, source, run, stop[2])


def _check_losses(world: DyingWorld, source: str, run: str, totals: dict[str, Any]) -> None:
    """All that was handed over is counted; what has not come by each path is named."""
    items = world.begun[source, run].items if (source, run) in world.begun else []
    if totals["sent"] != len(items):
        raise BrokenPromiseError(f"{run} of {source} has {totals} for {items}")
    missing = {place for first, end in totals.get("missing", ()) for place in range(first, end)}
    if totals["lost"] != len(missing) or totals.get("lost_at_most", 0) != len(missing):
        raise BrokenPromiseError(f"{run} of {source} counts its losses wrong: {totals}")
    for path, stages in enumerate(ways(world.chain, source.partition(".")[0])):
        if any(folds(world.chain.stages[name]) for name in stages):
            continue
        sinks = [node for node in world.nodes.values() if node.stage.name == stages[-1]]
        came = {
            entry[6]
            for sink in sinks
            for entry in sink.journal
            if entry[0] == Kind.EVENTS and entry[1:4] == (source, run, path)
        }
        for place, item in enumerate(items):
            wanted = set(outcomes(stages, [item]))
            if place not in missing and item not in world.foul and not wanted <= came:
                raise BrokenPromiseError(f"{wanted - came} of {run} is neither there nor named")
