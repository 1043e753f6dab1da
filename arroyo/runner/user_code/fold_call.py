"""`FoldCall`: calls into an operator that folds many messages into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Encoded, Reason
from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Message, Origin
from arroyo.protocol.fold.fold import Folded
from arroyo.protocol.relay.relay import Output
from arroyo.protocol.values.bounded_table import BoundedTable
from arroyo.stages import Operator, sort_results

from .calls import ListedResults, OperatorCall, key_of
from .trials import StageFailedError, UnusableMethodError, in_words, require_users_own


class _Run(msgspec.Struct):
    held: int = 0
    """How many of its inputs are in no output."""
    stop: Message | None = None
    """What goes on as its Stop; None where the operator has not been told since the last input."""


class FoldCall(OperatorCall):
    """`process()` of one operator that folds; parameters as those of `OperatorCall`.

    A run is told by the name of its source and its own.
    """

    def __init__(self, stage: Stage, operator: Operator, *args: Any) -> None:
        super().__init__(stage, operator, *args)
        held = getattr(self._operator, "held", None)
        # A list of that name is what the operator keeps for itself.
        self._held: Callable[[], Iterable[Message]] | None = held if callable(held) else None
        self._max_inputs = getattr(operator, "max_inputs", 0)
        self._runs: BoundedTable[tuple[str, str], _Run] = BoundedTable(_Run)
        self._failed_stops = 0

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return super().errors + self._failed_stops

    def make_results(self) -> ListedResults:
        """Make what `folded` appends to."""
        return ListedResults()

    def folded(
        self,
        run: tuple[str, str],
        messages: Iterable[Message],
        results: list[Folded] | None = None,
    ) -> list[Folded]:
        """Process messages between Start and Stop; says after each which are still held.

        `results`: where others may see meanwhile what has come of them.

        Raises
        ------
        StageError
            There are more than the operator's `max_inputs`; and what any operator's calls raise.
        """
        results = [] if results is None else results
        for message in messages:
            self._runs[run].stop = None
            outcome = self.event(message)
            if not isinstance(outcome, Output):
                outcome = Output((outcome,), len(outcome))
            still_held = self._still_held()
            if self._max_inputs:
                self._require_bound(run, outcome, still_held)
            results.append(Folded(outcome, still_held))
        return results

    def _require_bound(
        self, run: tuple[str, str], output: Output, still_held: frozenset[Origin] | None
    ) -> None:
        known = self._runs[run]
        if still_held is not None:
            known.held = sum((origin.source, origin.run) == run for origin in still_held)
        elif output.items:
            known.held = 0
        elif output.reason == Reason.FILTERED:
            known.held += 1
        if known.held > self._max_inputs:
            raise StageError(
                f"{self._stage.target} holds {known.held} inputs of one run that no output covers, "
                f"but its max_inputs is {self._max_inputs}: publish earlier, say in held() which "
                "inputs are still needed, or raise max_inputs"
            )

    def _still_held(self) -> frozenset[Origin] | None:
        if self._held is None:
            return None
        origins = [message.origin for message in self._held()]
        if None in origins:
            raise StageError(
                f"held() of {self._stage.target} named a message that did not come in; it names "
                "those given to process() that are still needed, or copies of them"
            )
        return frozenset(origin for origin in origins if origin is not None)

    def stop(self, run: tuple[str, str], message: Message) -> tuple[Output, Message]:
        """Process a Stop; returns what is given out before it, and the Stop that goes on.

        It may be announced before it comes: the operator hears of it once, and again only where
        there was an input since.

        Raises
        ------
        StageFailedError
            It raised, or gave out what can't be sent. What it held would be lost, so it has to be
            started again and get it again.
        """
        known = self._runs[run]
        output = Output()
        if known.stop is None:
            output, known.stop = self._work_on_stop(message)
            known.held = 0
        return output, known.stop

    def _work_on_stop(self, message: Message) -> tuple[Output, Message]:
        self._outbox.messages = []
        self._outbox.begin()
        try:
            results = self._results(self._operator.process(message))
            events, chosen = sort_results(message, results, folds=True)
            stop = chosen or message
            if stop is not message:
                self._codec.encode(stop)  # it is sent later, with its totals
            return self._output(events), stop
        except (UnavailableError, UnusableMethodError):
            raise
        except BaseException as error:
            require_users_own(error)
            self._failed_stops += 1
            raise StageFailedError(
                f"{self._stage.target} raised {in_words(error)} on a Stop, with what it held of "
                "the run; it is started again and gets that again"
            ) from error
        finally:
            self._outbox.end()

    def _output(self, events: Sequence[Message]) -> Output:
        items: list[Encoded] = [self._codec.encode(event) for event in events]
        field = self._key_field
        keys = [] if field is None else [key_of(event, field) for event in events]
        return Output(items, sum(map(len, items)), None, keys)
