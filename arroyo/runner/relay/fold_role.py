"""`FoldRole`: an operator that folds: it takes inputs as any stage does, and sends as a source."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Encoded, Kind, Reason
from arroyo.messages import Message, Origin, Stop
from arroyo.protocol.fold.fold import Fold, Folded
from arroyo.protocol.fold.state import NoteFold
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.deliveries import Outcome, Output, Work, origins_of
from arroyo.protocol.values.run_totals import RunTotals, with_totals
from arroyo.runner.assembly.folds import make_fold
from arroyo.runner.quarantine.requeue import Requeue
from arroyo.runner.quarantine.requeue_route import RequeueRoute
from arroyo.runner.state.fold_record import FoldRecord
from arroyo.runner.user_code.fold_call import FoldCall
from arroyo.runner.user_code.results import FILTERED, SKIPPED
from arroyo.shared_memory.kept_views import Loan
from arroyo.stages import Operator

from .relay_role import make_operator_call
from .role import Equipment

_HELD = Folded(FILTERED)


class FoldRole:
    """One operator that folds, as the loop of its replica sees it; methods as in `RelayRole`."""

    flushing = None
    _fold: Fold
    _record: FoldRecord
    _requeue: Requeue

    def __init__(self, equipment: Equipment, operator: Operator) -> None:
        self._equipment = equipment
        replica = equipment.replica
        calls = make_operator_call(equipment, operator)
        self.call = FoldCall(
            replica.stage, operator, calls, replica.codec, equipment.current_message
        )
        self.route = RequeueRoute(replica.chain, replica.name.stage, replica.codec.encode)
        self._operator = operator
        self._holds = False
        self._lent: dict[Origin, Loan] = {}
        """Shared memory of inputs that the operator holds for a later output."""
        self._covered = False
        """Some of them may be in an output since the last look."""

    def make_machine(self) -> Fold:
        """Make the state machine, from what the life before has left."""
        equipment, replica = self._equipment, self._equipment.replica
        store = equipment.quarantine.store
        self._requeue = Requeue(replica.chain, replica.name, store, replica.codec)
        state = replica.state
        self._record = FoldRecord(None if state is None else state.fold(replica.name))
        self._holds = getattr(self._operator, "max_inputs", 0) > 0
        replica.payloads.fold(holds=self._holds)
        replica.codec.give_back = replica.payloads.give_back
        self._fold = make_fold(
            replica.chain,
            replica.name,
            incarnation=replica.incarnation,
            holds=self._holds,
            memory=self._record.memory,
            make_early_stop=self._make_early_stop,
            suspect=replica.take_suspect(),
            history=replica.history,
        )
        self._record.note(self._fold.memory)  # where the epochs of the next life begin
        return self._fold

    # The stage's code

    def work_on(self, batch: Batch, work: Sequence[Work], results: Any) -> list[Folded]:
        """Have `process()` work on events, one by one."""
        self._equipment.take_up(batch, work)
        return self.call.folded((batch.source, batch.run), work, results)

    def hear(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        """Have `process()` hear of a Start; of a Stop when it is announced, or when it comes."""
        self._covered = True
        messages = self._equipment.take_controls(batch, work)
        if batch.kind == Kind.START:
            return [self.call.control(message) for message in messages]
        return [self._stop(batch, message) for message in messages]

    def _stop(self, batch: Batch, message: Message) -> Folded:
        output, chosen = self.call.stop((batch.source, batch.run), message)
        self._equipment.counters.give_out((output,), publishes=False)
        above = getattr(message, "data", {}).get("totals")
        return Folded(output, None, functools.partial(self._encode_stop, chosen, above))

    def _encode_stop(self, stop: Message, above: Any, totals: RunTotals) -> Encoded:
        totals.note_inputs(above)
        return self._equipment.replica.codec.encode(with_totals(stop, totals))

    def _make_early_stop(self, reason: str) -> Any:
        stop = Stop({"reason": reason} if reason else {})
        return functools.partial(self._encode_stop, stop, None)

    def do_without(self, batch: Batch, message: Message) -> Outcome:
        """Skip an event; a Start or Stop goes on as it came."""
        if batch.kind == Kind.EVENTS:
            return Folded(SKIPPED)
        if batch.kind == Kind.START:
            return self._equipment.replica.codec.encode(message)
        return Folded(Output(), None, functools.partial(self._encode_stop, message, None))

    # Messages from quarantine

    def let_pass(self, batch: Batch, work: Sequence[Work]) -> list[Folded]:
        """Finish what is not meant for it: what it gives out is its own, and goes no further."""
        self._covered = True
        return [Folded(Output(reason=Reason.FINISHED)) for _ in work]

    def place_returned(self, batch: Batch) -> tuple[Batch, None]:
        """Fold a message from quarantine into an output of a run of its own."""
        return msgspec.structs.replace(batch, returned=None), None

    # What follows

    def count(self, batch: Batch, outcomes: Sequence[Folded]) -> None:
        """Count inputs and outputs; an input that is held is not filtered."""
        given = [each.output for each in outcomes if each != _HELD]
        self._covered = self._covered or bool(given)
        self._equipment.counters.take_up(batch, len(outcomes))
        self._equipment.counters.give_out(given, publishes=False)

    def let_go(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Leave the code what it holds for a later output."""
        if not self._holds:
            self._equipment.kept_views.preserve(loans)
            return
        make_origin = origins_of(batch)
        for loan in loans:
            sequence, fragment, _ = loan.work
            self._lent[make_origin(sequence, fragment)] = loan

    def note_sent(self) -> None:
        """Take from the code what it was lent for inputs that are in an output now."""
        covered, self._covered = self._covered, False
        if covered and self._lent:
            held = self._fold.inputs.held
            done = [origin for origin in self._lent if origin not in held]
            self._equipment.kept_views.preserve([self._lent.pop(origin) for origin in done])
            self._equipment.replica.payloads.release()

    def carry_out(self, actions: Iterable[Action]) -> Iterator[Action]:
        """Do what only sources have to do: keep its state, release what is finished, quarantine."""
        asked: list[PutInQuarantine] = []
        for action in actions:
            if isinstance(action, NoteFold):
                self._record.note(action.state)
            elif isinstance(action, Release):
                self._equipment.replica.payloads.give_back(action.items)
                self._requeue.finish(action.items)
            elif isinstance(action, PutInQuarantine):
                asked.append(action)
            else:
                yield action
        # Behind the rest: what goes out in its place is numbered behind it.
        for action in asked:
            decode = self._equipment.replica.decode
            kept = self._equipment.quarantine.put_item(action, decode)
            yield from self.carry_out(self._fold.quarantined(action.suspect, kept=kept))

    def due(self, now: float) -> Iterator[Sequence[Action]]:
        """Send outputs that people have brought back from quarantine, if there is room."""
        if not self._fold.blocked:
            for intake in self._requeue.look(now, self._fold.outputs.open_runs):
                yield self._fold.bring_back(intake, now)

    def close(self) -> None:
        """Close its record, which stays for the next life."""
        self._record.close()
