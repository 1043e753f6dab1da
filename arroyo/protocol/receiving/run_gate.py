"""`RunGate`: Start before the first event, Stop after the last, each once per run. PURE.

PROTOCOL 19. They may come by several paths, from several replicas above, and again after a death.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from arroyo.codec import Batch, Kind
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.batches import count_of
from arroyo.protocol.values.bounded_table import BoundedTable, drop_oldest
from arroyo.protocol.values.deliveries import Delivery

CLOSED_RUNS = 64
"""How many finished runs of a source are remembered, to recognise what comes late; and how many
that have no Start, so that no Stop finishes them."""
LIVES = 16
"""Of how many lives of a source it is known what they have said of a run."""
PARKED_BATCHES = 64
"""How many batches by pub-sub wait for their Start; more are given up."""
STOP_WAIT_S = 1.0
"""How long a Stop by pub-sub waits for the same Stop from the other replicas above."""


class Verdict(Enum):
    """What is to be done with a batch."""

    WORK = 0
    """The stage works on it now."""
    AGAIN = 1
    """A Start or Stop that the stage has seen; it may have to go on once more."""
    NOTHING = 2
    """It came too late, or another has taken its place."""
    ASK = 3
    """It waits for a Start that pub-sub has lost: the sender has to send that again."""
    LATE = 4
    """Events of a run that is over, from another life of their source, which has to be told."""


Admission: TypeAlias = tuple[Verdict, Delivery]
_Key: TypeAlias = tuple[str, str]


class _Life(msgspec.Struct):
    """What one life of the source has said of a run."""

    told: dict[tuple[Kind, int], int] = {}
    """Highest attempt of Start and Stop that went on, by path."""
    announced: int = -1
    """Highest attempt in which it has said that its Stop is near."""


class _Run(msgspec.Struct):
    implicit: bool
    items: dict[Kind, Any] = {}
    """Start and Stop as this stage sends them on; None where nothing is sent."""
    lives: dict[int, _Life] = {}
    newest: int = 0
    """Epoch of the last life that was heard; a fold has greater ones in each life."""
    closed: bool = False
    epoch: int = 0
    """The life of the source that closed it,"""
    end: int = 0
    """and the sequence behind its Stop."""
    started_by: set[str] = set()
    stopped_by: set[str] = set()

    def life(self, epoch: int) -> _Life:
        found = self.lives.setdefault(epoch, _Life())
        drop_oldest(self.lives, self.lives, LIVES)
        return found


class _Forgotten(msgspec.Struct):
    end: int = 0
    """The greatest sequence behind the Stop of a run that is not remembered."""


class RunGate:
    """The runs that one replica knows, and what waits for a run to begin or end."""

    def __init__(self) -> None:
        self.dropped = 0
        """Messages by pub-sub that were given up because their Start never came."""
        self._runs: dict[_Key, _Run] = {}
        self._forgotten: BoundedTable[tuple[str, int], _Forgotten] = BoundedTable(_Forgotten)
        """By source and epoch."""
        self._parked: dict[_Key, list[Delivery]] = {}
        self._held: dict[_Key, tuple[float, Delivery]] = {}
        """Stops by pub-sub that wait for their twins, and until when."""

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min(due for due, _ in self._held.values()) if self._held else None

    def admit(self, delivery: Delivery, now: float) -> Iterable[Admission]:
        """Say what to do with a batch, and with those that waited for it."""
        batch = delivery.batch
        run = self._runs.get((batch.source, batch.run))
        if (
            batch.kind == Kind.EVENTS
            and run is not None
            and not run.closed
            and batch.epoch == run.newest
        ):
            return ((Verdict.WORK, delivery),)  # nearly all: what follows would say the same
        return self._admit(delivery, now)

    def _admit(self, delivery: Delivery, now: float) -> Iterator[Admission]:
        kind = delivery.batch.kind
        if self._is_outlived(delivery.batch) or self._is_forgotten(delivery.batch):
            yield Verdict.NOTHING, delivery
        elif kind == Kind.EVENTS:
            yield from self._events(delivery)
        elif kind == Kind.START:
            yield from self._start(delivery, now)
        elif kind == Kind.CLOSING:
            yield from self._last_call(delivery)
        else:
            yield from self._stop(delivery, now)

    def _is_outlived(self, batch: Batch) -> bool:
        """Whether a later life of a fold has given out this run again, under the same keys.

        PROTOCOL 57: nothing waits for this one, and an idempotent sink would overwrite the new.
        """
        run = self._runs.get(_key(batch))
        if run is None:
            return False
        run.newest = max(run.newest, batch.epoch)
        return batch.epoch < run.newest

    def _is_forgotten(self, batch: Batch) -> bool:
        """Whether its run is over, and so many others since then that it isn't known here any more.

        A replica above may be that late. The runs of one life of a source follow each other, and
        all that stands before a Stop which is forgotten was finished long ago.
        """
        if not batch.ranges or _key(batch) in self._runs:
            return False
        return batch.ranges[0][0] < self._forgotten[batch.source, batch.epoch].end

    def tick(self, now: float) -> list[Delivery]:
        """Time has passed: return Stops that waited long enough for their twins."""
        if not self._held:
            return []
        stops = [stop for due, stop in self._held.values() if now >= due]
        for stop in stops:
            self._close(stop.batch)
        return stops

    def note(self, batch: Batch, item: Any) -> None:
        """The stage has worked on a Start or Stop, and this is what goes on."""
        self._runs[_key(batch)].items[Kind(batch.kind)] = item

    def item(self, batch: Batch) -> Any:
        """What goes on of a Start or Stop that was noted."""
        return self._runs[_key(batch)].items[Kind(batch.kind)]

    def tells(self, batch: Batch) -> bool:
        """Whether a Start or Stop goes on now: once per path, and once per higher attempt.

        What came by pub-sub is on none of the paths, whose ends have to hear of it all the same.
        """
        run, kind = self._runs[_key(batch)], Kind(batch.kind)
        told, way = run.life(batch.epoch).told, (kind, batch.path if batch.reliable else -1)
        if kind not in run.items or told.get(way, -1) >= batch.attempt:
            return False
        told[way] = batch.attempt
        return True

    def _events(self, delivery: Delivery) -> Iterator[Admission]:
        batch = delivery.batch
        run = self._runs.get(_key(batch))
        if run is not None and run.closed:
            # The run is quiet: whatever still comes was finished before.
            known = not batch.reliable or batch.epoch == run.epoch
            yield Verdict.NOTHING if known else Verdict.LATE, delivery
        elif run is None and not batch.implicit and batch.ranges:
            yield from self._park(delivery)
        else:
            if run is None and batch.implicit:
                self._open(batch)
            yield Verdict.WORK, delivery

    def _start(self, delivery: Delivery, now: float) -> Iterator[Admission]:
        key = _key(delivery.batch)
        known = key in self._runs
        run = self._runs[key] if known else self._open(delivery.batch)
        run.started_by.add(delivery.batch.sender)
        yield (Verdict.AGAIN if known else Verdict.WORK), delivery
        for parked in self._parked.pop(key, ()):
            yield from self.admit(parked, now)

    def _last_call(self, delivery: Delivery) -> Iterator[Admission]:
        """A Stop is announced: folds that hold inputs of the run have to give them out."""
        batch = delivery.batch
        run = self._find(batch)
        if run is None:
            yield from self._park(delivery)
        elif run.closed or run.life(batch.epoch).announced >= batch.attempt:
            yield Verdict.AGAIN, delivery
        else:
            # After the death of a fold further above there is more to be given out.
            run.life(batch.epoch).announced = batch.attempt
            yield Verdict.WORK, delivery

    def _stop(self, delivery: Delivery, now: float) -> Iterator[Admission]:
        batch = delivery.batch
        key = _key(batch)
        run = self._find(batch)
        if run is None:
            yield from self._give_up(delivery)
        elif run.closed:
            yield Verdict.AGAIN, delivery
        else:
            run.stopped_by.add(batch.sender)
            if batch.reliable or run.stopped_by >= run.started_by:
                self._close(batch)
                yield Verdict.WORK, delivery
            else:
                # Events of the other replicas above may still be on their way.
                due, _ = self._held.get(key, (now + STOP_WAIT_S, None))
                self._held[key] = due, delivery
                yield Verdict.NOTHING, delivery

    def _close(self, stop: Batch) -> None:
        key = _key(stop)
        run = self._runs[key]
        run.closed, run.epoch = True, stop.epoch
        run.end = stop.ranges[-1][1] if stop.ranges else 0
        self._held.pop(key, None)

    def _find(self, batch: Batch) -> _Run | None:
        """Return the run that ends; one without a Start may be heard of only now."""
        run = self._runs.get(_key(batch))
        return self._open(batch) if run is None and batch.implicit else run

    def _open(self, batch: Batch) -> _Run:
        run = self._runs[_key(batch)] = _Run(batch.implicit, newest=batch.epoch)
        over: list[_Key] = []
        opened: list[_Key] = []
        for key, each in self._runs.items():
            if key[0] == batch.source and key not in self._held:
                (over if each.closed or each.implicit else opened).append(key)
        for each in drop_oldest(self._runs, over, CLOSED_RUNS):
            forgotten = self._forgotten[batch.source, each.epoch]
            forgotten.end = max(forgotten.end, each.end)
        drop_oldest(self._runs, opened, bounded_table.OPEN_RUNS)
        return run

    def _park(self, delivery: Delivery) -> Iterator[Admission]:
        parked = self._parked.setdefault(_key(delivery.batch), [])
        waiting = [key for key in self._parked if key[0] == delivery.batch.source]
        for given_up in drop_oldest(self._parked, waiting, bounded_table.OPEN_RUNS):
            for each in given_up:
                # Credited, but not acknowledged: what a source waits for comes again.
                self.dropped += 0 if each.batch.reliable else count_of(each.batch)
                yield Verdict.NOTHING, each
        if delivery.batch.reliable:
            parked.append(delivery)
            return
        if len(parked) == PARKED_BATCHES:
            self.dropped += sum(count_of(each.batch) for each in parked)
            parked.clear()
        parked.append(delivery)
        if len(parked) == 1:
            yield Verdict.ASK, delivery

    def _give_up(self, stop: Delivery) -> Iterator[Admission]:
        """A Stop without its Start: by pub-sub the run has passed unseen; else the Start comes."""
        key = _key(stop.batch)
        if stop.batch.reliable:
            yield from self._park(stop)
            return
        self.dropped += sum(count_of(each.batch) for each in self._parked.pop(key, ()))
        yield Verdict.NOTHING, stop


def _key(batch: Batch) -> _Key:
    # Without the epoch: a run of a fold goes on in its next life.
    return batch.source, batch.run
