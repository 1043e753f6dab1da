"""`Fold`: the protocol of a replica that folds many inputs into one output. PURE.

Towards the stages above it is where their paths end: it has a `Receiver`, and `PendingInputs`.
Towards those below it is a source (`FoldOutputs`): its outputs have sequences of their own, stand
in a ledger of their own, and come again after a death.
An input is finished when the output that covers it is. Rules:
- PROTOCOL 54: an output covers all inputs of its run that came before it, unless the stage says
  which it holds.
- PROTOCOL 55: when a Stop is announced (Closing), the stage gives out what it holds; the Stop
  itself goes on when it comes, which is when everything above is finished.
- PROTOCOL 56: Start and Stop are finished above when they are finished below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from arroyo.codec import Ack, BackRecord, Batch, DataRecord, Kind, Reason, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.receiving.receiver import Receiver
from arroyo.protocol.source.input import InputBatch, MakeStop
from arroyo.protocol.values.actions import Action, Outbox, Release
from arroyo.protocol.values.batches import split_done
from arroyo.protocol.values.deliveries import Delivery, Outcome, Output, Work, as_output

from .outputs import FoldOutputs, OutputBatch
from .pending_inputs import ControlToken, CoveredInputs, PendingInputs, passed
from .state import FoldState, NoteFold

WINDOW_MESSAGES = 65_536
"""With so many outputs that are not finished the stage takes no more inputs."""


class Folded(NamedTuple):
    """What became of one input of a fold."""

    output: Output
    """What goes on after it, if anything does."""
    still_held: frozenset[Origin] | None = None
    """Origins of the inputs that the stage needs for later outputs, where it says so."""
    make_stop: MakeStop | None = None
    """For a Stop and its announcement: makes the item that goes on."""


class Fold:
    """One replica of a fold.

    `next_epoch`: where the epochs of its next life begin.
    """

    def __init__(
        self,
        receiver: Receiver,
        inputs: PendingInputs,
        outputs: FoldOutputs,
        outbox: Outbox,
        *,
        next_epoch: int,
    ) -> None:
        self.receiver = receiver
        self._history = receiver.history
        self._upstream = receiver.upstream
        self._gate = receiver.gate
        self.inputs = inputs
        self.outputs = outputs
        self._outbox = outbox
        self._next_epoch = next_epoch

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken. PROTOCOL 9."""
        return self.outputs.blocked or self.in_flight >= WINDOW_MESSAGES

    @property
    def in_flight(self) -> int:
        """Outputs that are not finished."""
        return self.outputs.in_flight

    @property
    def memory(self) -> FoldState:
        """What the next life has to know, as of now."""
        return FoldState(self.outputs.counts, tuple(self.inputs.done), self._next_epoch)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        dues = (self._gate.deadline, self.outputs.deadline)
        return min((due for due in dues if due is not None), default=None)

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return self.outputs.ended

    # Beginning and end

    def connect(self) -> list[Action]:
        """Make the links below, and say Hello to everyone above."""
        self.outputs.downstream.connect()
        return self.receiver.greet_all()

    def end(self, *, final: bool) -> list[Action]:
        """No more input will come: End follows when all that was given out is finished."""
        self._history.note("gives out no more, for good: {}", final)
        self.outputs.end(self._history.now, final=final)
        return self._take()

    # From above

    def record(
        self, record: DataRecord, content: Any, now: float
    ) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above. Returns what to send, and what the stage has to work on."""
        deliveries = self.receiver.record(record, content, now, self._tell, self._finish_events)
        return self._take(), deliveries

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed: send again what is due; returns as `record` does."""
        deliveries = self.receiver.tick(now)
        self.outputs.tick(now)
        return self._take(), deliveries

    # From below

    def back(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self._history.now = now
        self.outputs.record(record, now)
        return self._take()

    def disconnected(self, replica: ReplicaName, link: int) -> list[Action]:
        """The link to a replica below broke."""
        self.outputs.disconnected(replica, link, self._history.now)
        return self._take()

    def quarantined(self, suspect: Suspect, *, kept: bool) -> list[Action]:
        """`PutInQuarantine` is done for an output, or it can't be kept."""
        self.outputs.quarantined(suspect, kept=kept)
        return self._take()

    def bring_back(self, intake: InputBatch, now: float) -> list[Action]:
        """Send a message that people have brought back; it is in a run of its own."""
        self._history.now = now
        self.outputs.accept("", f"returned-{self._upstream.incarnation}", intake, now)
        return self._take()

    # The stage's work

    def finish(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome], message_s: float
    ) -> list[Action]:
        """The stage's code is done with a delivery; see `Relay.finish`.

        An outcome is `Folded`, and for a Start the item that goes on.
        """
        self._upstream.message_s = message_s
        if batch.kind == Kind.EVENTS:
            self._finish_events(batch, work, outcomes)
        elif batch.kind == Kind.START:
            self._start(batch, outcomes[0])
        else:
            self._stop(batch, outcomes[0])
        waiting = self.inputs.count
        self._history.note("folded batch {} of {}: {} wait", batch.number, batch.sender, waiting)
        self._upstream.credit(batch)
        return self._take()

    def hand_on(
        self, batch: Batch, done: Sequence[Work], outcomes: Sequence[Folded]
    ) -> tuple[list[Action], Batch]:
        """The stage's code is done with the first inputs of a delivery; see `Relay.hand_on`."""
        count = len(done)
        self._history.note("handed on {} of batch {} of {}", count, batch.number, batch.sender)
        head, rest = split_done(batch, done)
        self._finish_events(head, done, outcomes)
        return self._take(), rest

    def _finish_events(
        self, batch: Batch, work: Sequence[Work] = (), outcomes: Sequence[Folded] = ()
    ) -> None:
        given = OutputBatch()
        if work:
            run = self.outputs.run(batch.source, batch.run)
            run.handed_ns = run.handed_ns or batch.handed_ns
        for (sequence, fragment, _), (output, still_held, _) in zip(work, outcomes, strict=True):
            if output.reason in (None, Reason.FILTERED):
                if batch.reliable:
                    self.inputs.hold(batch, sequence, fragment)
                if output.items or still_held is not None:
                    self._cover(output, self.inputs.cover(batch, still_held), given)
        if batch.reliable:
            outputs = [outcome.output for outcome in outcomes]
            self._acknowledge(self.inputs.take(batch, work, outputs))
        self._give_out(batch, given)

    def _cover(self, output: Output, covered: CoveredInputs, given: OutputBatch) -> None:
        """Inputs are finished when the output that covers them is; at once, if there is none."""
        if output.items:
            given.add(output, covered)
        else:
            self._acknowledge(self.inputs.finish(covered))

    def _start(self, batch: Batch, outcome: Outcome) -> None:
        self._gate.note(batch, outcome)
        items = as_output(outcome).items
        self._send(batch, InputBatch(Kind.START, items, (_token(batch),), len(items[0])))
        self._tell(batch)

    def _stop(self, batch: Batch, outcome: Folded) -> None:
        """A Stop or its announcement: give out what is held, and have it go on."""
        given = OutputBatch()
        self._cover(outcome.output, self.inputs.cover(batch), given)
        self._give_out(batch, given)
        self._gate.note(batch, outcome)
        kind, make_stop = Kind(batch.kind), outcome.make_stop
        self._send(batch, InputBatch(kind, tokens=(_token(batch),), make_stop=make_stop))
        self._tell(batch)

    def _tell(self, batch: Batch) -> None:
        """Have a Start or Stop acknowledged by the path that it came by, once it is finished."""
        if batch.kind != Kind.CLOSING and batch.reliable and self._gate.tells(batch):
            self._acknowledge(self.inputs.tell(batch))

    def _give_out(self, batch: Batch, given: OutputBatch) -> None:
        if given.items:
            run = self.outputs.run(batch.source, batch.run)
            handed_ns, run.handed_ns = run.handed_ns, 0
            self._send(batch, given.as_input(handed_ns))

    def _send(self, batch: Batch, intake: InputBatch) -> None:
        self.outputs.accept(batch.source, batch.run, intake, self._history.now)

    def _acknowledge(self, acks: Iterable[Ack]) -> None:
        for ack in acks:
            self._upstream.acknowledge(ack)

    def _take(self) -> list[Action]:
        """Return what is to be done; what outputs release is finished above as well.

        PROTOCOL 57: what the next life has to know is noted in between, with the outputs that are
        finished and the inputs that they cover, or with neither.
        """
        actions = self._outbox.take()
        acks: list[Ack] = []
        released = False
        for action in actions:
            if isinstance(action, Release):
                released = True
                for token in action.tokens:
                    acks += self.inputs.finish(token)
        if not released:
            return actions
        self._history.note("kept its state: {} outputs are in flight", self.in_flight)
        self._acknowledge(acks)
        return [NoteFold(self.memory), *actions, *self._outbox.take()]


def _token(batch: Batch) -> ControlToken | None:
    """Return what is finished above with a Start or Stop; None below a pub-sub link."""
    return passed(batch) if batch.reliable else None
