"""`Fold`: the protocol of a replica that folds many inputs into one output. PURE.

Towards the stages above it is where their paths end (`PendingInputs`), towards those below it is a
source (`FoldOutputs`): its outputs have sequences of their own, stand in a ledger of their own, and
come again after a death.
An input is finished when the output that covers it is. Rules:
- An output covers all inputs of its run that came before it, unless the stage says which it holds
  (PROTOCOL 54).
- When a Stop is announced (Closing), the stage gives out what it holds; the Stop itself goes on
  when it comes, which is when everything above is finished.
- Start and Stop are finished above when they are finished below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from arroyo.codec import Ack, BackRecord, Batch, Hello, Kind, Reason, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.relay.relay import Relay
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.source.input import InputBatch, MakeStop
from arroyo.protocol.values.actions import Action, Release
from arroyo.protocol.values.batches import Position, positions_of
from arroyo.protocol.values.deliveries import Delivery, Outcome, Output, Work, as_output
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Emit, Outbox

from .output_run import OutputRun
from .outputs import FoldOutputs
from .pending_inputs import ControlToken, CoveredInputs, PendingInputs, passed
from .state import FoldState, NoteFold

WINDOW_MESSAGES = 65_536
"""With so many outputs that are not finished the stage takes no more inputs."""


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


class Fold(Relay):
    """One replica of a fold; parameters as those of `Relay`, and these:

    Parameters
    ----------
    holdings
        For what it takes.
    make_outputs
        Makes what gives out, of where that says what is to be done.
    next_epoch
        Where the epochs of its next life begin.
    """  # noqa: D400

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        holdings: PendingInputs,
        make_outputs: Callable[[Emit], FoldOutputs],
        next_epoch: int,
        ordered: bool,
        outbox: Outbox,
        history: History,
        suspect: Suspect | None = None,
    ) -> None:
        super().__init__(
            name,
            incarnation=incarnation,
            senders=senders,
            sources=sources,
            downstream=Downstream(incarnation, history=history),  # its paths end here
            ordered=ordered,
            outbox=outbox,
            history=history,
            suspect=suspect,
        )
        self._holdings = holdings
        self._outputs = make_outputs(self._emit_output)
        self._next_epoch = next_epoch
        self._now = 0.0

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken."""
        return self._outputs.blocked or self.in_flight >= WINDOW_MESSAGES

    @property
    def in_flight(self) -> int:
        """Outputs that are not finished."""
        return self._outputs.in_flight

    @property
    def redelivered(self) -> int:
        """Inputs that had been taken before they came again."""
        return self._holdings.redelivered

    @property
    def sources(self) -> dict[tuple[str, str], OutputRun]:
        """What it is to the stages below, by source and run above."""
        return self._outputs.sources

    @property
    def held(self) -> set[Origin]:
        """Inputs that the stage's code may still need: no output covers them yet."""
        return self._holdings.held

    @property
    def memory(self) -> FoldState:
        """What the next life has to know, as of now."""
        return FoldState(self._outputs.counts, tuple(self._holdings.done), self._next_epoch)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        dues = (super().deadline, self._outputs.deadline)
        return min((due for due in dues if due is not None), default=None)

    # Beginning and end

    def connect(self) -> list[Action]:
        """Make the links below, and say Hello to everyone above."""
        self._outputs.connect()
        return super().connect()

    def end(self, *, final: bool) -> list[Action]:
        """No more input will come: End follows when all that was given out is finished."""
        self.history.note("gives out no more, for good: {}", final)
        self._outputs.end(self._now, final=final)
        return self._outbox.take()

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return self._outputs.ended

    # Time, and what comes

    def record(self, record: Any, content: Any, now: float) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above; see `Relay.record`."""
        self._now = now
        return super().record(record, content, now)

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed: send again what is due; see `Relay.tick`."""
        self._now = self.history.now = now
        self._outputs.tick(now)
        return super().tick(now)

    def back(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self._now = self.history.now = now
        self._outputs.record(record, now)
        return self._outbox.take()

    def disconnected(self, replica: ReplicaName, link: int) -> list[Action]:
        """The link to a replica below broke."""
        self._outputs.disconnected(replica, link, self._now)
        return self._outbox.take()

    def quarantined(self, suspect: Suspect, *, kept: bool) -> list[Action]:
        """`PutInQuarantine` is done for an output, or it can't be kept."""
        self._outputs.quarantined(suspect, kept=kept)
        return self._outbox.take()

    @property
    def open_runs(self) -> frozenset[str] | None:
        """See `Source.open_runs`."""
        return self._outputs.open_runs

    def bring_back(self, intake: InputBatch, now: float) -> list[Action]:
        """Send a message that people have brought back; it is in a run of its own."""
        self._now = self.history.now = now
        self._outputs.accept("", f"returned-{self._incarnation}", intake, now)
        return self._outbox.take()

    def _batch(self, delivery: Delivery, now: float) -> list[Delivery]:
        batch = delivery.batch
        this_life = (*self.name, self._incarnation)
        if batch.kind == Kind.CLOSING and batch.holders and this_life not in batch.holders:
            # It was meant for a life before this one: what that held is still to come. It has no
            # holders where no Stop follows, and all but folds without a bound are finished.
            if self._senders.takes(batch, 1):
                self._credit(batch)
            else:
                self._reject(batch)
            return []
        return super()._batch(delivery, now)

    # The stage's work

    def _hello(self) -> Hello:
        return msgspec.structs.replace(super()._hello(), sticky=True)

    def _covers(self, batch: Batch) -> bool:
        return self._holdings.covers(batch)

    def _select_new(self, batch: Batch, work: Sequence[Work]) -> list[Work]:
        return self._holdings.select_new(batch, work)

    def _places_passed(self, batch: Batch, work: Sequence[Work]) -> Iterable[Position]:
        # Finished in a life before this one, as its memory says.
        new = {(sequence, fragment) for sequence, fragment, _ in work}
        return [position for position in positions_of(batch) if position not in new]

    def finish(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome], message_s: float
    ) -> list[Action]:
        """The stage's code is through with a delivery; see `Relay.finish`.

        Parameters
        ----------
        outcomes
            `Folded`, and for a Start the item that goes on.
        """
        self._message_s = message_s
        if batch.kind == Kind.EVENTS:
            self._finish_events(batch, work, outcomes)
        elif batch.kind == Kind.START:
            (outcome,) = outcomes
            self._gate.note(batch, outcome)
            items = as_output(outcome).items
            intake = InputBatch(Kind.START, items, (_token(batch),), len(items[0]))
            self._give_out(batch, intake)
            self._tell(batch, again=False)
        else:
            self._close(batch, outcomes[0])
        self._note_pending(batch)
        self._credit(batch)
        return self._outbox.take()

    def _finish_events(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Folded]
    ) -> None:
        outputs = [outcome.output for outcome in outcomes]
        gathering = _Gathering()
        if work:
            source = self._outputs.source(batch.source, batch.run)
            source.handed_ns = source.handed_ns or batch.handed_ns
        for (sequence, fragment, _), (output, still_held, _) in zip(work, outcomes, strict=True):
            if output.reason in (None, Reason.FILTERED):
                if batch.reliable:
                    self._holdings.hold(batch, sequence, fragment)
                self._cover(batch, output, still_held, gathering)
        if batch.reliable:
            self._acknowledge(self._holdings.take(batch, work, outputs))
        self._give_out_all(batch, gathering)

    def _cover(
        self,
        batch: Batch,
        output: Output,
        still_held: frozenset[Origin] | None,
        gathering: _Gathering,
    ) -> None:
        """Find out which inputs are finished when this output is; at once, if there is none."""
        if not output.items and still_held is None:
            return
        covered = self._holdings.cover(batch, still_held)
        if output.items:
            gathering.add(output, covered)
        else:
            self._acknowledge(self._holdings.finish(covered))

    def _close(self, batch: Batch, outcome: Folded) -> None:
        """A Stop or its announcement: give out what is held, and have it go on."""
        gathering = _Gathering()
        covered = self._holdings.cover(batch)
        if outcome.output.items:
            gathering.add(outcome.output, covered)
        else:
            self._acknowledge(self._holdings.finish(covered))
        self._give_out_all(batch, gathering)
        self._gate.note(batch, outcome)
        kind, make_stop = Kind(batch.kind), outcome.make_stop
        intake = InputBatch(kind, tokens=(_token(batch),), make_stop=make_stop)
        self._give_out(batch, intake)
        self._tell(batch, again=False)

    def _tell(self, batch: Batch, *, again: bool) -> None:
        """Have a Start or Stop acknowledged by the path that it came by, once it is finished."""
        del again
        if batch.kind != Kind.CLOSING and batch.reliable and self._gate.tells(batch):
            self._acknowledge(self._holdings.tell(batch))

    def _give_out_all(self, batch: Batch, gathering: _Gathering) -> None:
        if gathering.items:
            source = self._outputs.source(batch.source, batch.run)
            handed_ns, source.handed_ns = source.handed_ns, 0
            self._give_out(batch, gathering.intake(handed_ns))

    def _note_pending(self, batch: Batch) -> None:
        waiting = self._holdings.count
        self.history.note("folded batch {} of {}: {} wait", batch.number, batch.sender, waiting)

    def _give_out(self, batch: Batch, intake: InputBatch) -> None:
        self._outputs.accept(batch.source, batch.run, intake, self._now)

    def _emit_output(self, action: Action) -> None:
        """Pass an action of the outputs on; what that releases is finished above as well.

        PROTOCOL 57: what the next life has to know is noted in between, with the outputs that are
        finished and the inputs that they cover, or with neither.
        """
        acks: list[Ack] = []
        if isinstance(action, Release):
            for token in action.tokens:
                acks += self._holdings.finish(token)
            self.history.note("kept its state: {} outputs are in flight", self.in_flight)
            self._emit(NoteFold(self.memory))
        self._emit(action)
        self._acknowledge(acks)


def _token(batch: Batch) -> ControlToken | None:
    """What is finished above with a Start or Stop; None where nobody waits for it."""
    return passed(batch) if batch.reliable else None


class _Gathering:
    """Outputs that go on together; the last message of each carries what it covers."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._tokens: list[CoveredInputs | None] = []
        self._keys: list[int] = []
        self._size = 0

    def add(self, output: Output, covered: CoveredInputs) -> None:
        self.items += output.items
        self._tokens += [None] * (len(output.items) - 1)
        self._tokens.append(covered)
        self._keys += output.keys
        self._size += output.size

    def intake(self, handed_ns: int) -> InputBatch:
        keys = self._keys or None
        return InputBatch(
            Kind.EVENTS, self.items, self._tokens, self._size, keys, handed_ns=handed_ns
        )
