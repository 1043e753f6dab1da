"""An operator's replica that folds: it takes inputs as any stage does, and sends as a source."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Encoded, Kind, Reason
from arroyo.messages import Message, Origin, Stop
from arroyo.protocol.fold.fold import Fold, Folded
from arroyo.protocol.fold.state import NoteFold
from arroyo.protocol.relay.relay import Outcome, Output, Work
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.deliveries import origins_of
from arroyo.protocol.values.run_totals import RunTotals, with_totals
from arroyo.runner.assembly import key_field, make_boundary
from arroyo.runner.quarantine.requeue import Requeue
from arroyo.runner.user_code.calls import FILTERED, SKIPPED
from arroyo.runner.user_code.fold_call import FoldCall
from arroyo.shared_memory.lending import Loan

from .fold_record import FoldRecord
from .relay_process import RelayProcess
from .under_way import UnderWay

_HELD = Folded(FILTERED)


class FoldProcess(RelayProcess):
    """Runs an operator that folds from `open()` to `close()`."""

    _relay: Fold
    _call: FoldCall

    def _make_call(self, made: Any) -> FoldCall:
        replica = self._replica
        key = key_field(replica.chain, replica.name.stage)
        return FoldCall(replica.stage, made, replica.codec, key, self._isolation)

    def _prepare(self, made: Any) -> None:
        replica = self._replica
        self._returning = Requeue(replica.chain, replica.name, self._isolation.store, replica.codec)
        self._record = FoldRecord(
            None if replica.state is None else replica.state.fold(replica.name)
        )
        self._holds = holds = getattr(made, "max_inputs", 0) > 0
        self._held: dict[Origin, Loan] = {}
        self._covered = False
        replica.payloads.fold(holds=holds)
        self._relay = make_boundary(
            replica.chain,
            replica.name,
            incarnation=replica.incarnation,
            holds=holds,
            memory=self._record.memory,
            make_early_stop=self._early_stop,
            suspect=replica.take_suspect(),
            history=replica.history,
        )
        self._record.note(self._relay.memory)  # where the epochs of the next life begin

    def _work_off(self, batch: Batch, work: Sequence[Work]) -> None:
        super()._work_off(batch, work)
        self._settle()

    def _hand_on(self, way: UnderWay, outcomes: Sequence[Outcome]) -> None:
        super()._hand_on(way, outcomes)
        self._settle()

    def _settle(self) -> None:
        """Look at inputs that are covered now; their acknowledgements have not left yet."""
        covered, self._covered = self._covered, False
        if covered and self._held:
            held = self._relay.held
            done = [origin for origin in self._held if origin not in held]
            self._lending.settle([self._held.pop(origin) for origin in done])
            self._replica.payloads.release()

    def _let_go(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Leave the stage's code what it holds for a later output."""
        if not self._holds:
            super()._let_go(batch, loans)
            return
        make_origin = origins_of(batch)
        for loan in loans:
            sequence, fragment, _ = loan.work
            self._held[make_origin(sequence, fragment)] = loan

    def _perform(self, actions: Iterable[Action]) -> None:
        asked: list[PutInQuarantine] = []
        for action in actions:
            if isinstance(action, NoteFold):
                self._record.note(action.state)
            elif isinstance(action, Release):
                self._replica.payloads.give_back(action.items)
                self._returning.finish(action.items)
            elif isinstance(action, PutInQuarantine):
                asked.append(action)
            else:
                super()._perform((action,))
        # Behind the rest: what goes out in its place is numbered behind it.
        for action in asked:
            kept = self._isolation.put_item(action, self._replica.decode)
            self._perform(self._relay.quarantined(action.suspect, kept=kept))

    def _do_regularly(self, now: float) -> None:
        super()._do_regularly(now)
        if not self._relay.blocked:
            for intake in self._returning.look(now, self._relay.open_runs):
                self._perform(self._relay.bring_back(intake, now))

    def _treat(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        self._covered = True
        if batch.kind == Kind.START:
            return super()._treat(batch, work)
        if batch.kind != Kind.EVENTS:
            return [self._stop(batch, message) for _, _, message in work]
        return [Folded(Output(reason=Reason.FINISHED)) for _ in work]

    def _call_code(self, batch: Batch, work: Sequence[Work], results: Any) -> Sequence[Outcome]:
        run = batch.source, batch.run
        return self._call.folded(run, self._hand_over(batch, work), results)

    def _count(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        # An input that is held is not filtered: it goes into a later output.
        given = [each.output for each in outcomes if each != _HELD]
        self._covered = self._covered or bool(given)
        self._counters.take_up(batch, len(outcomes))
        self._counters.give_out(given, publishes=False)

    def _work_on_returned(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[Batch, UnderWay | None, Sequence[Outcome]]:
        """Fold a message from quarantine into an output of a run of its own."""
        batch = msgspec.structs.replace(batch, returned=None)
        return batch, *self._work_through(batch, work, now_ns)

    def _stop(self, batch: Batch, message: Message) -> Folded:
        """Work on a Stop when it is announced, or when it comes, if that is the first one hears."""
        message._origin = origins_of(batch)(batch.base - 1, ())
        if batch.kind == Kind.STOP:
            self._isolation.note_control(batch, (message,))
        output, chosen = self._call.stop((batch.source, batch.run), message)
        self._counters.give_out((output,), publishes=False)
        above = getattr(message, "data", {}).get("totals")
        return Folded(output, None, functools.partial(self._encode_stop, chosen, above))

    def _encode_stop(self, stop: Message, above: Any, totals: RunTotals) -> Encoded:
        totals.note_inputs(above)
        return self._replica.codec.encode(with_totals(stop, totals))

    def _instead(self, batch: Batch, message: Message) -> Outcome:
        if batch.kind == Kind.EVENTS:
            return Folded(SKIPPED)
        outcome = super()._instead(batch, message)
        if batch.kind == Kind.START:
            return outcome
        return Folded(Output(), None, functools.partial(self._encode_stop, message, None))

    def _early_stop(self, reason: str) -> Any:
        stop = Stop({"reason": reason} if reason else {})
        return functools.partial(self._encode_stop, stop, None)

    def _close(self) -> None:
        super()._close()
        self._record.close()
