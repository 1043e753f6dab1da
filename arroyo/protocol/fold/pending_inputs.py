"""`PendingInputs`: inputs that a fold has taken, and that no finished output covers. PURE.

PROTOCOL 53, 54: a fold ends the paths from above. What it has taken is TAKEN until the output that
covers it is finished below, and finished above only then. What comes again meanwhile is recognised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from arroyo.codec import Ack, Batch, Kind, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.messages import Fragment, Origin
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.batches import Position, merge, sort_positions, tombstones_for
from arroyo.protocol.values.bounded_table import drop_oldest
from arroyo.protocol.values.deduplication import Deduplication, Way, way_of
from arroyo.protocol.values.deliveries import Output, Work

from .state import DoneInputs

KNOWN_RUNS = 64
"""Start and Stop are known of so many runs of a source that are over, to answer what comes late."""

_Run: TypeAlias = tuple[str, str]


class PendingInput(NamedTuple):
    """An input: where it counts, and where it came from as the stage's code sees it."""

    way: Way
    sequence: int
    fragment: Fragment
    origin: Origin


class CoveredInputs(NamedTuple):
    """Token of an output: when it is finished below, these inputs are finished above."""

    inputs: tuple[PendingInput, ...]


class ControlToken(NamedTuple):
    """Token of a Start or Stop that went on: source, run and kind."""

    source: str
    run: str
    kind: Kind


class _Control(msgspec.Struct):
    """A Start or Stop: whether it is finished below, and by which ways it came."""

    finished: bool = False
    came_by: dict[tuple[Way, int], None] = {}


class PendingInputs:
    """Remembers inputs by source, epoch and path, and makes acknowledgements.

    Parameters
    ----------
    paths
        How many paths go on below, on all of which an input is finished at once.
    replicas
        How many replicas of the fold have to see each Start and Stop.
    holds
        Whether inputs are held until an output covers them. Else they are finished when they are
        taken, and what was made of them is lost if the process dies.
    """

    def __init__(
        self, name: ReplicaName, incarnation: int, *, paths: int, replicas: int, holds: bool
    ) -> None:
        self.known = Deduplication()
        """What was taken."""
        self._name = name
        self._incarnation = incarnation
        self._paths = paths
        self._replicas = replicas
        self._holds = holds
        self._done = Deduplication()
        self._held: dict[_Run, deque[PendingInput]] = {}
        self._controls: dict[ControlToken, _Control] = {}

    # Over lives

    @property
    def done(self) -> Iterator[DoneInputs]:
        """What the next life has to know of the inputs."""
        for way, done in self._done.items():
            whole, parts = done.above_frontier()
            if whole or parts:
                yield DoneInputs(*way, whole, parts)

    def recall(self, inputs: Iterable[DoneInputs]) -> None:
        """Take up what the life before had finished."""
        for each in inputs:
            way = (each.source, each.epoch, each.path)
            for finished in (self.known[way], self._done[way]):
                for first, end in each.ranges:
                    finished.add(first, end)
                finished.add_positions(each.fragments)

    @property
    def held(self) -> set[Origin]:
        """Inputs that no output covers yet, as the stage's code sees them."""
        return {each.origin for held in self._held.values() for each in held}

    @property
    def count(self) -> int:
        """How many inputs no output covers yet."""
        return sum(map(len, self._held.values()))

    # What comes from above

    def take(self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]) -> Iterator[Ack]:
        """Acknowledge a batch: what was taken of it, and what is finished already."""
        known, done = self.known.of(batch), self._done.of(batch)
        stones = list(batch.tombstones)
        taken: list[Position] = []
        finished: list[Position] = []
        for position in self.known.left_out(batch, work):
            (finished if done.covers(*position) else taken).append(position)
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            if output.reason is not None and output.reason != Reason.FILTERED:
                stones += tombstones_for([(sequence, fragment)], output.reason)
                continue
            known.add(sequence, sequence + 1, fragment)
            (taken if self._holds else finished).append((sequence, fragment))
        known.add_tombstones(stones)
        done.add_tombstones(stones)
        if not self._holds:
            done.add_positions(finished)
        way = way_of(batch)
        yield from self._ack(way, taken, taken=self._incarnation)
        yield from self._ack(way, finished, merge(stones))

    def hold(self, batch: Batch, sequence: int, fragment: Fragment) -> None:
        """Keep an input until an output covers it."""
        if not self._holds:
            return
        held = self._held.setdefault((batch.source, batch.run), deque())
        if len(self._held) > bounded_table.OPEN_RUNS:
            del self._held[next(iter(self._held))]  # of a source that died: its Stop never comes
        place = sequence - batch.base
        origin = Origin(batch.run, batch.source, batch.epoch, place, batch.path, fragment)
        held.append(PendingInput(way_of(batch), sequence, fragment, origin))

    def cover(self, batch: Batch, still_held: Collection[Origin] | None = None) -> CoveredInputs:
        """Return the inputs that an output covers: all that are held of its run.

        `still_held`: or those of all runs that the stage's code does not need any more.
        """
        if still_held is None:
            return CoveredInputs(tuple(self._held.pop((batch.source, batch.run), ())))
        covered: list[PendingInput] = []
        for run, held in list(self._held.items()):
            covered += [each for each in held if each.origin not in still_held]
            self._held[run] = deque(each for each in held if each.origin in still_held)
            if not self._held[run]:
                del self._held[run]
        return CoveredInputs(tuple(covered))

    def tell(self, batch: Batch) -> Iterator[Ack]:
        """A Start or Stop came, for the first time or again; it may be finished already."""
        control = self._controls.setdefault(passed(batch), _Control())
        place = way_of(batch), batch.ranges[0][0]
        if control.finished:
            yield from self._ack(place[0], [(place[1], ())], control=True)
        else:
            control.came_by[place] = None
        self._forget_controls(batch.source)

    def _forget_controls(self, source: str) -> None:
        """Keep Start and Stop of the last runs that are over; and of all others."""
        finished = [
            key
            for key, control in self._controls.items()
            if key.source == source and control.finished
        ]
        for stop in [key for key in finished if key.kind == Kind.STOP][:-KNOWN_RUNS]:
            del self._controls[stop]
            self._controls.pop(stop._replace(kind=Kind.START), None)
        starts = (key for key in finished if key.kind == Kind.START and key in self._controls)
        drop_oldest(self._controls, starts, bounded_table.OPEN_RUNS)

    # What is finished below

    def finish(self, token: CoveredInputs | ControlToken | None) -> Iterator[Ack]:
        """What went on with this token is finished."""
        if isinstance(token, ControlToken):
            control = self._controls.setdefault(token, _Control())
            control.finished = True
            came_by, control.came_by = control.came_by, {}
            for way, sequence in came_by:
                yield from self._ack(way, [(sequence, ())], control=True)
        elif token is not None:
            by_way: dict[Way, list[Position]] = {}
            for held in token.inputs:
                by_way.setdefault(held.way, []).append((held.sequence, held.fragment))
            for way, positions in by_way.items():
                self._done[way].add_positions(positions)
                yield from self._ack(way, positions)

    def _ack(
        self,
        way: Way,
        positions: Iterable[Position],
        stones: tuple[Tombstone, ...] = (),
        *,
        taken: int = 0,
        control: bool = False,
    ) -> Iterator[Ack]:
        whole, parts = sort_positions(positions)
        if whole or parts or stones:
            replicas = self._replicas if control else 0
            source, epoch, path = way
            yield Ack(
                *self._name,
                source,
                epoch,
                path,
                whole,
                stones,
                parts,
                taken,
                self._paths,
                replicas,
            )


def passed(batch: Batch) -> ControlToken:
    """Return the token of a Start or Stop."""
    return ControlToken(batch.source, batch.run, Kind(batch.kind))
