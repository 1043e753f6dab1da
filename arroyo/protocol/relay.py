"""`Relay`: the protocol of a replica that receives, be it an operator's or a publisher's. PURE.

Records go in (`record`), deliveries come out; the shell has the stage's code work on each and
reports what became of it (`finish`). Rules:
- Start before the first event, Stop after the last, each once per run, whatever came how often.
- A terminal stage does nothing twice and acknowledges; any other keeps nothing.
- One batch in, one batch out; what ended here goes on as tombstones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from arroyo.codec import (
    PROTOCOL_VERSION,
    Ack,
    BackRecord,
    Batch,
    Bye,
    Credit,
    DataRecord,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Refuse,
    Tombstone,
)
from arroyo.identifiers import ReplicaName
from arroyo.messages import Fragment

from .actions import Action, Reply
from .finished import Finished
from .loads import Load, Position, bury, count_of, describe, positions_of
from .outlets import Outlet
from .publication import Publication
from .reorder import Reorder
from .senders import Senders

CLOSED_RUNS = 64
"""How many finished runs are remembered, to recognise what comes late."""
STOP_WAIT_S = 1.0
"""How long a Stop by pub-sub waits for the same Stop from the other replicas above."""


class Delivery(NamedTuple):
    """A batch for the stage's code, and what the shell got along with it (its frames)."""

    batch: Batch
    content: Any


class Work(NamedTuple):
    """One message for the stage's code."""

    sequence: int
    fragment: Fragment
    message: Any


class Output(NamedTuple):
    """What became of one message: the items that go on, or why it ended here.

    A publisher's outputs have neither items nor reason: the message is finished.
    """

    items: Sequence[Any] = ()
    size: int = 0
    reason: Reason | None = None
    keys: Sequence[int] = ()


@dataclass(slots=True)
class _Run:
    start: Any = None
    """The item of its Start as this stage sends it on."""
    stop: Any = None
    closed: bool = False
    told: dict[tuple[Kind, int], int] = field(default_factory=dict)
    """Highest attempt of Start and Stop that went on, by path."""
    started_by: set[str] = field(default_factory=set)
    stopped_by: set[str] = field(default_factory=set)
    stop_due: float | None = None
    held_stop: Delivery | None = None


class Relay:
    """One operator or publisher replica between the stages above and below.

    Parameters
    ----------
    name, incarnation
        Who this is, and in which life.
    senders
        Every replica above that sends to it, and whether by pub-sub.
    sources
        Every source replica above, near or far.
    outlets
        One per stage below that is fed by push-pull. None: paths end here.
    publication
        For pub-sub links below, where there are any.
    ordered
        Whether the stage wants the order of the source.
    flushes
        Whether what is finished counts only after the shell has said `flushed`.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        outlets: Sequence[Outlet],
        publication: Publication | None,
        ordered: bool,
        flushes: bool = False,
    ) -> None:
        self.name = name
        self._incarnation = incarnation
        self._neighbours = {str(above): above for above in senders}
        self._crediting = {str(above): above for above, pub_sub in senders.items() if not pub_sub}
        self._senders = Senders({str(above): pub_sub for above, pub_sub in senders.items()})
        self._sources = {str(source): source for source in sources}
        self._outlets = {outlet.stage: outlet for outlet in outlets}
        self._publication = publication
        self._ordered = ordered
        self._flushes = flushes
        self._unflushed: list[Ack] = []
        self._runs: OrderedDict[tuple[str, int, str], _Run] = OrderedDict()
        self._parked: dict[tuple[str, int, str], list[Delivery]] = {}
        self._finished: dict[tuple[str, int, int], Finished] = {}
        self._reorders: dict[tuple[str, int, int], Reorder[Work]] = {}
        self._message_s = 0.0
        self._leaving = False
        self.redelivered = 0
        """Messages that had been finished here before they came again."""

    # What the shell looks at

    @property
    def terminal(self) -> bool:
        """Whether paths end here."""
        return not self._outlets

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken."""
        return any(outlet.blocked for outlet in self._outlets.values())

    @property
    def in_flight(self) -> int:
        """Messages sent below and not credited."""
        return sum(outlet.in_flight for outlet in self._outlets.values())

    @property
    def dropped(self) -> int:
        """Messages that pub-sub links above have lost on the way here."""
        return self._senders.dropped

    @property
    def inputs_finished(self) -> bool:
        """Whether every replica above has finished for good."""
        return self._senders.all_finished

    @property
    def inputs_left(self) -> bool:
        """Whether every replica above that was ever here has said End; for a stage that leaves."""
        return self._senders.known_ended

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min((run.stop_due for run in self._runs.values() if run.stop_due), default=None)

    # Beginning and end

    def connect(self) -> Iterator[Action]:
        """Make the links below, and say Hello to everyone above."""
        for outlet in self._outlets.values():
            yield from outlet.connect(self._incarnation)
        for above in {**self._neighbours, **self._sources}.values():
            yield Reply(above, self._hello())

    def leave(self) -> Iterator[Action]:
        """Ask the replicas above to send no more; each answers with End."""
        self._leaving = True
        for above in self._crediting.values():
            if not self._senders.has_ended(str(above)):
                yield Reply(above, self._bye())

    def end(self, *, final: bool) -> Iterator[Action]:
        """Nothing more will go out: say End below, for good or for this life only."""
        for outlet in self._outlets.values():
            yield from outlet.end(final=final)
        if self._publication is not None:
            yield from self._publication.end(final=final)

    @property
    def ended(self) -> bool:
        """Whether all has left and has been taken up."""
        return all(outlet.ended and not outlet.in_flight for outlet in self._outlets.values())

    # From above

    def record(
        self, record: DataRecord, content: Any, now: float
    ) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above. Returns what to send, and what the stage has to work on."""
        if isinstance(record, Open):
            return list(self._open(record)), []
        if isinstance(record, End):
            known = self._senders.end(record.sender, record.link, final=record.final)
            return ([] if known else self._reject(record)), []
        return self._batch(Delivery(record, content), now)

    def tick(self, now: float) -> list[Delivery]:
        """Time has passed: Stops that waited long enough for their twins."""
        due = []
        for run in self._runs.values():
            if run.stop_due is not None and now >= run.stop_due and run.held_stop is not None:
                due.append(run.held_stop)
                run.stop_due, run.held_stop, run.closed = None, None, True
        return due

    def _hello(self) -> Hello:
        return Hello(PROTOCOL_VERSION, *self.name, incarnation=self._incarnation)

    def _bye(self) -> Bye:
        return Bye(*self.name, incarnation=self._incarnation)

    def _open(self, record: Open) -> Iterator[Action]:
        name = ReplicaName(record.stage, record.replica)
        if record.version != PROTOCOL_VERSION:
            reason = (
                f"{name} speaks version {record.version} of the link protocol, "
                f"{self.name} version {PROTOCOL_VERSION}: run the same release on both sides"
            )
            yield Reply(name, Refuse(*self.name, PROTOCOL_VERSION, reason))
        elif self._senders.open(str(name), record):
            yield Reply(name, self._hello())
            if self._leaving:
                # The Bye may have come before this link was made.
                yield Reply(name, self._bye())

    def _batch(self, delivery: Delivery, now: float) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        if not self._senders.takes(batch, count_of(batch)):
            return self._reject(batch), []
        if batch.kind == Kind.EVENTS:
            return self._events(delivery)
        if batch.kind == Kind.START:
            return self._start(delivery, now)
        return self._stop(delivery, now)

    def _reject(self, record: Batch | End) -> list[Action]:
        """Have the sender make a new link; it tells the sources what that means."""
        above = self._crediting.get(record.sender)
        return [] if above is None else [Reply(above, Lost(*self.name, record.link))]

    def _report_loss(self) -> Iterator[Action]:
        for source in self._sources.values():
            yield Reply(source, Lost(*self.name))

    def _events(self, delivery: Delivery) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        key = (batch.source, batch.epoch, batch.run)
        run = self._runs.get(key)
        if run is not None and run.closed:
            # The run is quiet: whatever still comes was finished before.
            return list(self._credit(batch)), []
        if run is None and not batch.implicit and batch.ranges:
            self._parked.setdefault(key, []).append(delivery)
            return [], []
        return [], [delivery]

    def _start(self, delivery: Delivery, now: float) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        key = (batch.source, batch.epoch, batch.run)
        run = self._runs.get(key)
        if run is not None:
            run.started_by.add(batch.sender)
            return list(self._repeat(batch, run, run.start)), []
        run = self._runs[key] = _Run()
        run.started_by.add(batch.sender)
        self._forget_old_runs()
        actions: list[Action] = []
        deliveries = [delivery]
        for parked in self._parked.pop(key, []):
            if parked.batch.kind == Kind.EVENTS:
                deliveries.append(parked)
            else:
                more, stop = self._stop(parked, now)
                actions += more
                deliveries += stop
        return actions, deliveries

    def _stop(self, delivery: Delivery, now: float) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        key = (batch.source, batch.epoch, batch.run)
        run = self._runs.get(key)
        if run is None and batch.implicit:
            run = self._runs[key] = _Run()
        if run is None:
            self._parked.setdefault(key, []).append(delivery)
            return [], []
        if run.closed:
            return list(self._repeat(batch, run, run.stop)), []
        run.stopped_by.add(batch.sender)
        if not batch.reliable and not run.stopped_by >= run.started_by:
            # Events of the other replicas above may still be on their way.
            run.stop_due = run.stop_due or now + STOP_WAIT_S
            run.held_stop = delivery
            return list(self._credit(batch)), []
        run.closed, run.stop_due, run.held_stop = True, None, None
        return [], [delivery]

    def _forget_old_runs(self) -> None:
        closed = [key for key, run in self._runs.items() if run.closed]
        for key in closed[: max(0, len(closed) - CLOSED_RUNS)]:
            del self._runs[key]

    # The stage's work

    def plan(self, batch: Batch, messages: Sequence[Any]) -> list[Work]:
        """Say which messages of a delivery are to be worked on now, and in which order.

        Raises
        ------
        ValueError
            The header promises another number of messages than came.
        """
        positions = positions_of(batch)
        if len(positions) != len(messages):
            raise ValueError(f"{len(positions)} messages were announced, {len(messages)} came")
        work = [
            Work(sequence, fragment, message)
            for (sequence, fragment), message in zip(positions, messages, strict=True)
        ]
        if batch.kind != Kind.EVENTS:
            return work
        if self.terminal and batch.reliable:
            work = self._drop_finished(batch, work)
        if self._ordered and batch.reliable:
            work = self._restore_order(batch, work)
        return work

    def _drop_finished(self, batch: Batch, work: list[Work]) -> list[Work]:
        finished = self._finished_of(batch)
        if not batch.fragments and all(finished.is_new(*span) for span in batch.ranges):
            return work
        fresh = [each for each in work if not finished.covers(each.sequence, each.fragment)]
        self.redelivered += len(work) - len(fresh)
        return fresh

    def _finished_of(self, batch: Batch) -> Finished:
        finished = self._finished.setdefault((batch.source, batch.epoch, batch.path), Finished())
        finished.advance(batch.frontier)
        return finished

    def _restore_order(self, batch: Batch, work: list[Work]) -> list[Work]:
        reorder = self._reorders.setdefault((batch.source, batch.epoch, batch.path), Reorder())
        # A run begins when the one before is quiet: what is below its base is finished.
        start = max(batch.frontier, batch.base)
        released = reorder.skip_to(start)
        for each in work:
            if not self.terminal and start <= each.sequence < reorder.next:
                # It went on before, but was lost below: it has to go the way again.
                released.append(each)
            else:
                released += reorder.push(each.sequence, each.fragment, each)
        for stone in batch.tombstones:
            released += reorder.bury(stone.first, stone.end, stone.fragment)
        return released

    def finish(
        self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output], message_s: float
    ) -> Iterator[Action]:
        """The stage's code is through with a delivery.

        Parameters
        ----------
        work, outputs
            What `plan` gave, and what became of each.
        message_s
            How long one message took, in s.
        """
        self._message_s = message_s
        if batch.kind != Kind.EVENTS:
            yield from self._finish_control(batch, outputs)
        else:
            if self._outlets or self._publication is not None:
                yield from self._send_on(batch, work, outputs)
            if self.terminal and batch.reliable:
                yield from self._acknowledge(batch, work, outputs)
        yield from self._credit(batch)

    def _send_on(
        self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]
    ) -> Iterator[Action]:
        positions: list[Position] = []
        items: list[Any] = []
        keys: list[int] = []
        size = 0
        stones = list(batch.tombstones)
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            count = len(output.items)
            if count == 1:
                positions.append((sequence, fragment))
            elif count:
                parts = [((index, count),) for index in range(count)]
                positions += [(sequence, (*fragment, *part)) for part in parts]
            else:
                reason = Reason.FILTERED if output.reason is None else output.reason
                stones += bury([(sequence, fragment)], reason)
            items += output.items
            keys += output.keys
            size += output.size
        fields = describe(positions) | {"tombstones": _merge(stones), "detached": ()}
        load = Load(msgspec.structs.replace(batch, **fields), items, size, keys or None)
        if items or stones:
            yield from self._offer(load)

    def _offer(self, load: Load) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.offer(load)
        if self._publication is not None and load.items:
            yield from self._publication.offer(load)

    def _acknowledge(
        self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]
    ) -> Iterator[Action]:
        finished = self._finished_of(batch)
        stones = list(batch.tombstones)
        worked = {(sequence, fragment) for sequence, fragment, _ in work}
        # What came again and was not worked on is finished too, unless it waits for its turn.
        done = [
            position
            for position in positions_of(batch)
            if position not in worked and finished.covers(*position)
        ]
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            if output.reason is None:
                done.append((sequence, fragment))
            else:
                stones += bury([(sequence, fragment)], output.reason)
        for sequence, fragment in done:
            finished.add(sequence, sequence + 1, fragment)
        for stone in stones:
            finished.add(stone.first, stone.end, stone.fragment)
        yield from self._ack(batch, done, stones)

    def _ack(
        self, batch: Batch, done: Sequence[Position], stones: Sequence[Tombstone]
    ) -> Iterator[Action]:
        whole = sorted(sequence for sequence, fragment in done if not fragment)
        ack = Ack(
            *self.name,
            source=batch.source,
            epoch=batch.epoch,
            path=batch.path,
            ranges=describe([(sequence, ()) for sequence in whole])["ranges"],
            tombstones=_merge(stones),
            fragments=tuple((number, fragment) for number, fragment in done if fragment),
        )
        if self._flushes:
            self._unflushed.append(ack)
        elif batch.source in self._sources:
            yield Reply(self._sources[batch.source], ack)

    def flushed(self) -> Iterator[Action]:
        """What was finished so far is safe now."""
        for ack in self._unflushed:
            if ack.source in self._sources:
                yield Reply(self._sources[ack.source], ack)
        self._unflushed.clear()

    def _credit(self, batch: Batch) -> Iterator[Action]:
        above = self._crediting.get(batch.sender)
        if above is not None:
            credit = Credit(*self.name, batch.link, batch.number + 1, self._message_s)
            yield Reply(above, credit)

    # Start and Stop

    def _finish_control(self, batch: Batch, outputs: Sequence[Output]) -> Iterator[Action]:
        run = self._runs[(batch.source, batch.epoch, batch.run)]
        item = outputs[0].items[0] if outputs and outputs[0].items else None
        if batch.kind == Kind.START:
            run.start = item
        else:
            run.stop = item
        yield from self._tell(batch, run, item)

    def _repeat(self, batch: Batch, run: _Run, item: Any) -> Iterator[Action]:
        """A Start or Stop came again: by another path, or because the source sent it again."""
        yield from self._tell(batch, run, item)
        yield from self._credit(batch)

    def _tell(self, batch: Batch, run: _Run, item: Any) -> Iterator[Action]:
        kind = Kind(batch.kind)
        if run.told.get((kind, batch.path), -1) >= batch.attempt:
            return
        run.told[kind, batch.path] = batch.attempt
        if item is not None:
            yield from self._offer(Load(msgspec.structs.replace(batch, detached=()), [item]))
        if self.terminal and batch.reliable:
            finished = self._finished_of(batch)
            for first, end in batch.ranges:
                finished.add(first, end)
            yield from self._ack(batch, [(batch.ranges[0][0], ())], ())

    # From below

    def back(self, record: BackRecord, now: float) -> Iterator[Action]:
        """Take a record from below."""
        if isinstance(record, Credit):
            if record.stage in self._outlets:
                yield from self._outlets[record.stage].credit(record)
        elif isinstance(record, Hello):
            if record.stage in self._outlets:
                yield from self._after(self._outlets[record.stage].hello(record))
            elif self._publication is not None:
                yield from self._publication.repeat_starts()
        elif isinstance(record, Bye) and record.stage in self._outlets:
            yield from self._outlets[record.stage].bye(record)
        elif isinstance(record, Lost) and record.link is not None:
            yield from self.disconnected(ReplicaName(record.stage, record.replica), record.link)

    def disconnected(self, replica: ReplicaName, link: int) -> Iterator[Action]:
        """The link to a replica below broke."""
        if replica.stage in self._outlets:
            outlet = self._outlets[replica.stage]
            yield from self._after(outlet.disconnected(replica.replica, link))

    def _after(self, change: tuple[list[Action], bool]) -> Iterator[Action]:
        """Do what an outlet says, and report what was lost with a replica."""
        actions, lost = change
        yield from actions
        if lost:
            yield from self._report_loss()


def _merge(stones: Sequence[Tombstone]) -> tuple[Tombstone, ...]:
    """Join neighbouring tombstones of one reason."""
    merged: list[Tombstone] = []
    for stone in stones:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.end == stone.first
            and last.reason == stone.reason
            and not last.fragment
            and not stone.fragment
        ):
            merged[-1] = Tombstone(last.first, stone.end, last.reason)
        else:
            merged.append(stone)
    return tuple(merged)
