"""`Boundary`: the protocol of a replica that folds many inputs into one output. PURE.

Towards the stages above it is where their paths end, towards those below it is a source: its
outputs have sequences of their own, stand in a ledger of their own, and come again after a death.
An input is finished when the output that covers it is. Rules:
- An output covers all inputs of its run that came before it, unless the stage says which it holds.
- When a Stop is announced (Closing), the stage gives out what it holds; the Stop itself goes on
  when it comes, which is when everything above is finished.
- Start and Stop are finished above when they are finished below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from arroyo.codec import (
    Ack,
    BackRecord,
    Batch,
    Bye,
    Credit,
    Hello,
    Kind,
    Lost,
    Reason,
    Suspect,
)
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin

from .actions import Action, Release
from .fold_memory import FoldMemory, OpenOutputs
from .fold_source import FoldSource
from .holdings import Covered, Holdings, passed
from .loads import Position, positions_of
from .outlets import Outlet
from .publication import Publication
from .relay import Relay
from .runs import Intake, MakeStop
from .work import Delivery, Outcome, Output, Work, as_output

WINDOW_MESSAGES = 65_536
"""With so many outputs that are not finished the stage takes no more inputs."""

FORMER_RUNS = 64
"""So many runs are remembered that are over, or were open in a former life and are not in this."""


class Folded(NamedTuple):
    """What became of one input of a fold.

    Attributes
    ----------
    output
        What goes on after it, if anything does.
    still_held
        Origins of the inputs that the stage needs for later outputs, where it says so.
    make_stop
        For a Stop and its announcement: makes the item that goes on.
    """

    output: Output
    still_held: frozenset[Origin] | None = None
    make_stop: MakeStop | None = None


class Boundary(Relay):
    """One replica of a fold; parameters as those of `Relay`, and these:

    Parameters
    ----------
    holdings
        For what it takes.
    outlets, publication
        To the stages below.
    make_source
        Makes what the fold is to the stages below, for a run: of its name, and of
        what the life before left of it.
    memory
        What the life before left.
    """  # noqa: D400

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        holdings: Holdings,
        outlets: Sequence[Outlet],
        publication: Publication | None,
        make_source: Callable[[str, OpenOutputs | None], FoldSource],
        memory: FoldMemory,
        **wiring: Any,
    ) -> None:
        super().__init__(name, incarnation=incarnation, outlets=(), publication=None, **wiring)
        self._holdings = holdings
        self._below = {outlet.stage: outlet for outlet in outlets}
        self._own_publication = publication
        self._make_source = make_source
        self._former = {(each.source, each.run): each for each in memory.outputs}
        self._lives: dict[ReplicaName, int] = {}
        self._handed_ns: dict[tuple[str, str], int] = {}
        """When the oldest input was handed over that is in no output yet, by run."""
        self._outputs: dict[tuple[str, str], FoldSource] = {}
        self._now = 0.0
        self._final: bool | None = None

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken."""
        return any(outlet.blocked for outlet in self._below.values()) or (
            self.in_flight >= WINDOW_MESSAGES
        )

    @property
    def in_flight(self) -> int:
        """Outputs that are not finished."""
        return sum(each.ledger.next - each.ledger.frontier for each in self._outputs.values())

    @property
    def redelivered(self) -> int:
        """Inputs that had been taken before they came again."""
        return self._holdings.redelivered

    @property
    def sources(self) -> dict[tuple[str, str], FoldSource]:
        """What it is to the stages below, by source and run above."""
        return self._outputs

    @property
    def memory(self) -> FoldMemory:
        """What the next life has to know, as of now."""
        opened = [OpenOutputs(*run, source.finished) for run, source in self._outputs.items()]
        former = list(self._former.values())[-FORMER_RUNS:]
        return FoldMemory((*former, *opened), tuple(self._holdings.done))

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        dues = [super().deadline, *(each.deadline for each in self._outputs.values())]
        return min((due for due in dues if due is not None), default=None)

    # Beginning and end

    def connect(self) -> Iterator[Action]:
        """Make the links below, and say Hello to everyone above."""
        for outlet in self._below.values():
            yield from outlet.connect(self._incarnation)
        yield from super().connect()

    def end(self, *, final: bool) -> Iterator[Action]:
        """No more input will come: End follows when all that was given out is finished."""
        if self._final is None:
            self._final = final
            for source in self._outputs.values() if final else ():
                yield from self._finished(source.finish(self._now))
        yield from self._try_end()

    def _try_end(self) -> Iterator[Action]:
        if self._final is None or not self._has_finished():
            return
        for outlet in self._below.values():
            yield from outlet.end(final=self._final)
        if self._own_publication is not None:
            publication, self._own_publication = self._own_publication, None
            yield from publication.end(final=self._final)

    def _has_finished(self) -> bool:
        if self._final:
            return all(each.through for each in self._outputs.values())
        return all(each.ledger.quiet and not each.blocked for each in self._outputs.values())

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return (
            self._final is not None
            and self._has_finished()
            and all(outlet.ended for outlet in self._below.values())
        )

    # Time, and what comes

    def record(self, record: Any, content: Any, now: float) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above; see `Relay.record`."""
        self._now = now
        return super().record(record, content, now)

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed: send again what is due; see `Relay.tick`."""
        self._now = now
        actions, deliveries = super().tick(now)
        for source in self._outputs.values():
            actions += self._finished(source.tick(now))
        return actions, deliveries

    def back(self, record: BackRecord, now: float) -> Iterator[Action]:
        """Take a record from below."""
        self._now = now
        if isinstance(record, Ack | Suspect):
            for source in self._outputs.values():
                if source.epoch == record.epoch:
                    yield from self._finished(source.record(record, now))
        elif isinstance(record, Hello):
            yield from self._meet(record)
        elif isinstance(record, Lost):
            if record.link is None:
                self._note_loss()
            else:
                name = ReplicaName(record.stage, record.replica)
                yield from self.disconnected(name, record.link)
        elif isinstance(record, Credit | Bye) and record.stage in self._below:
            outlet = self._below[record.stage]
            yield from (outlet.credit(record) if isinstance(record, Credit) else outlet.bye(record))
        for run, source in list(self._outputs.items()):
            yield from self._finished(source.credited(now))
            if source.over:
                self._forget(run)
        yield from self._try_end()

    def _forget(self, run: tuple[str, str]) -> None:
        """A run is over, but its Stop comes again if the source does not hear of that."""
        self._former[run] = OpenOutputs(*run, self._outputs.pop(run).finished)
        if len(self._former) > FORMER_RUNS:
            del self._former[next(iter(self._former))]

    def disconnected(self, replica: ReplicaName, link: int) -> Iterator[Action]:
        """The link to a replica below broke."""
        if replica.stage in self._below:
            outlet = self._below[replica.stage]
            actions, lost = outlet.disconnected(replica.replica, link)
            yield from actions
            if lost:
                self._note_loss()

    def _meet(self, hello: Hello) -> Iterator[Action]:
        if hello.stage in self._below:
            actions, broken = self._below[hello.stage].hello(hello)
            yield from actions
            if broken:
                self._note_loss()
        elif self._own_publication is not None:
            yield from self._own_publication.repeat_starts()
        name = ReplicaName(hello.stage, hello.replica)
        for source in self._outputs.values() if hello.sticky else ():
            source.ledger.forget_taken(*name, hello.incarnation)
        if self._lives.get(name) not in (None, hello.incarnation):
            self._note_loss()
        self._lives[name] = hello.incarnation

    def _note_loss(self) -> None:
        for source in self._outputs.values():
            source.note_loss(self._now)

    def bury(self, epoch: int, sequence: int) -> None:
        """An output is in quarantine; a tombstone goes in its place from now on."""
        for source in self._outputs.values():
            if source.epoch == epoch:
                source.bury(sequence)

    def bring_back(self, intake: Intake, now: float) -> Iterator[Action]:
        """Send a message that people have brought back; it is in a run of its own."""
        self._now = now
        yield from self._accept("", f"returned-{self._incarnation}", intake)

    def _batch(self, delivery: Delivery, now: float) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        this_life = (*self.name, self._incarnation)
        if batch.kind == Kind.CLOSING and this_life not in batch.holders:
            # It was meant for a life before this one: what that held is still to come.
            taken = self._senders.takes(batch, 1)
            return [*(self._credit(batch) if taken else self._reject(batch))], []
        return super()._batch(delivery, now)

    # The stage's work

    def _hello(self) -> Hello:
        return msgspec.structs.replace(super()._hello(), sticky=True)

    def _select_new(self, batch: Batch, work: Sequence[Work]) -> list[Work]:
        return self._holdings.select_new(batch, work)

    def _places_passed(self, batch: Batch, work: Sequence[Work]) -> Iterable[Position]:
        # Finished in a life before this one, as its memory says.
        new = {(sequence, fragment) for sequence, fragment, _ in work}
        return [position for position in positions_of(batch) if position not in new]

    def finish(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome], message_s: float
    ) -> Iterator[Action]:
        """The stage's code is through with a delivery; see `Relay.finish`.

        Parameters
        ----------
        outcomes
            `Folded`, and for a Start the item that goes on.
        """
        self._message_s = message_s
        if batch.kind == Kind.EVENTS:
            yield from self._fold(batch, work, outcomes)
        elif batch.kind == Kind.START:
            (outcome,) = outcomes
            self._gate.note(batch, outcome)
            items = as_output(outcome).items
            intake = Intake(Kind.START, items, (passed(batch),), len(items[0]))
            yield from self._give_out(batch, intake)
            yield from self._tell(batch, again=False)
        else:
            yield from self._close(batch, outcomes[0])
        yield from self._credit(batch)

    def _fold(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Folded]
    ) -> Iterator[Action]:
        outputs = [outcome.output for outcome in outcomes]
        gathering = _Gathering()
        if batch.handed_ns:
            self._handed_ns.setdefault((batch.source, batch.run), batch.handed_ns)
        for (sequence, fragment, _), (output, still_held, _) in zip(work, outcomes, strict=True):
            if output.reason in (None, Reason.FILTERED):
                if batch.reliable:
                    self._holdings.hold(batch, sequence, fragment)
                yield from self._cover(batch, output, still_held, gathering)
        if batch.reliable:
            yield from self._reply(self._holdings.take(batch, work, outputs))
        yield from self._give_out_all(batch, gathering)

    def _cover(
        self,
        batch: Batch,
        output: Output,
        still_held: frozenset[Origin] | None,
        gathering: _Gathering,
    ) -> Iterator[Action]:
        """Find out which inputs are finished when this output is; at once, if there is none."""
        if not output.items and still_held is None:
            self._holdings.require_bound(batch)
            return
        covered = self._holdings.cover(batch, still_held)
        if output.items:
            gathering.add(output, covered)
        else:
            yield from self._reply(self._holdings.finish(covered))

    def _close(self, batch: Batch, outcome: Folded) -> Iterator[Action]:
        """A Stop or its announcement: give out what is held, and have it go on."""
        gathering = _Gathering()
        covered = self._holdings.cover(batch)
        if outcome.output.items:
            gathering.add(outcome.output, covered)
        else:
            yield from self._reply(self._holdings.finish(covered))
        yield from self._give_out_all(batch, gathering)
        self._gate.note(batch, outcome)
        kind, tokens = Kind(batch.kind), (passed(batch),)
        intake = Intake(kind, tokens=tokens, make_stop=outcome.make_stop)
        yield from self._give_out(batch, intake)
        yield from self._tell(batch, again=False)

    def _tell(self, batch: Batch, *, again: bool) -> Iterator[Action]:
        """Have a Start or Stop acknowledged by the path that it came by, once it is finished."""
        del again
        if batch.kind != Kind.CLOSING and batch.reliable and self._gate.tells(batch):
            yield from self._reply(self._holdings.tell(batch))

    def _give_out_all(self, batch: Batch, gathering: _Gathering) -> Iterator[Action]:
        if gathering.items:
            handed_ns = self._handed_ns.pop((batch.source, batch.run), 0)
            yield from self._give_out(batch, gathering.intake(handed_ns))

    def _give_out(self, batch: Batch, intake: Intake) -> Iterator[Action]:
        yield from self._accept(batch.source, batch.run, intake)

    def _accept(self, above: str, run: str, intake: Intake) -> Iterator[Action]:
        key = (above, run)
        if key not in self._outputs:
            source = self._make_source(run, self._former.pop(key, None))
            for name, incarnation in self._lives.items():
                source.ledger.forget_taken(*name, incarnation)
            self._outputs[key] = source
        yield from self._finished(self._outputs[key].accept(intake, self._now))

    def _finished(self, actions: Iterator[Action]) -> Iterator[Action]:
        """Pass actions of a source on; what it releases is finished above as well."""
        for action in actions:
            acks: list[Ack] = []
            if isinstance(action, Release):
                # Noted before the shell hears of it, so that its memory has both or neither.
                for token in action.tokens:
                    acks += self._holdings.finish(token)
            yield action
            yield from self._reply(acks)


class _Gathering:
    """Outputs that go on together; the last message of each carries what it covers."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._tokens: list[Covered | None] = []
        self._keys: list[int] = []
        self._size = 0

    def add(self, output: Output, covered: Covered) -> None:
        self.items += output.items
        self._tokens += [None] * (len(output.items) - 1)
        self._tokens.append(covered)
        self._keys += output.keys
        self._size += output.size

    def intake(self, handed_ns: int) -> Intake:
        keys = self._keys or None
        return Intake(Kind.EVENTS, self.items, self._tokens, self._size, keys, handed_ns=handed_ns)
