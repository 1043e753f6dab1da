"""`FoldCall`: calls into an operator that folds many messages into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from arroyo.codec import Encoded, MessageCodec, Reason
from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Message, Origin
from arroyo.protocol.fold.fold import Folded
from arroyo.protocol.values.bounded_table import BoundedTable
from arroyo.protocol.values.deliveries import Output, Work, as_output
from arroyo.stages import Operator, sort_results

from .current_message import CurrentMessage
from .error_policy import StageFailedError, UnusableMethodError, in_words, require_users_own
from .operator_call import OperatorCall
from .results import ListedResults


class _Run(msgspec.Struct):
    held: int = 0
    """Inputs that no output covers yet."""
    stop: Message | None = None
    """The Stop that goes on; None while the operator has not heard of it since the last input."""


class FoldCall:
    """`process()` of one operator that folds. A run is told by the name of its source and its own.

    `codec`: tells whether a Stop can be sent.
    `current`: tells when the code is to be left.
    """

    def __init__(
        self,
        stage: Stage,
        operator: Operator,
        call: OperatorCall,
        codec: MessageCodec,
        current: CurrentMessage,
    ) -> None:
        self._call = call
        self.methods = call.methods
        self._codec = codec
        self._target = stage.target
        self._due = current.due
        held = getattr(operator, "held", None)
        # A list of that name is what the operator keeps for itself.
        self._held: Callable[[], Iterable[Message]] | None = held if callable(held) else None
        self._max_inputs = getattr(operator, "max_inputs", 0)
        self._runs: BoundedTable[tuple[str, str], _Run] = BoundedTable(_Run)
        self._failed_stops = 0

    @property
    def takes_lists(self) -> bool:
        """Whether it works on all messages of a batch at once.

        Not where it says after each which inputs it still needs.
        """
        return self._call.takes_lists and self._held is None

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._call.errors + self._failed_stops

    def control(self, message: Message) -> Encoded:
        """Process a Start; whatever comes of it, exactly one goes on."""
        return self._call.control(message)

    def make_results(self) -> ListedResults:
        """Make what `folded` appends to."""
        return ListedResults()

    def folded(
        self,
        run: tuple[str, str],
        work: Sequence[Work],
        results: list[Folded] | None = None,
    ) -> list[Folded]:
        """Process messages between Start and Stop; says after each which are still held.

        Once results are due, those are left out that were not begun.

        `results`: where others may see meanwhile what has come of them.

        StageError: there are more than the operator's `max_inputs`; and what any operator's calls
        raise.
        """
        results = [] if results is None else results
        together = self._call.together(work) if self.takes_lists else ()
        results += [self._fold(run, outcome) for outcome in together]
        for each in () if together else work:
            [outcome] = self._call.events((each,))
            results.append(self._fold(run, outcome))
            if self._due:
                break
        return results

    def _fold(self, run: tuple[str, str], outcome: Encoded | Output) -> Folded:
        """Return what became of an input, when the code is done with it."""
        self._runs[run].stop = None
        output = as_output(outcome)
        still_held = self._still_held()
        if self._max_inputs:
            self._require_bound(run, output, still_held)
        return Folded(output, still_held)

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
                f"{self._target} holds {known.held} inputs of one run that no output covers, "
                f"but its max_inputs is {self._max_inputs}: publish earlier, say in held() which "
                "inputs are still needed, or raise max_inputs"
            )

    def _still_held(self) -> frozenset[Origin] | None:
        if self._held is None:
            return None
        origins = [message.origin for message in self._held()]
        if None in origins:
            raise StageError(
                f"held() of {self._target} named a message that did not come in; it names "
                "those given to process() that are still needed, or copies of them"
            )
        return frozenset(origin for origin in origins if origin is not None)

    def stop(self, run: tuple[str, str], message: Message) -> tuple[Output, Message]:
        """Process a Stop; returns what is given out before it, and the Stop that goes on.

        It may be announced before it comes: the operator hears of it once, and again only where
        there was an input since.

        StageFailedError: it raised, or gave out what can't be sent. What it held would be lost, so
        it has to be started again and get it again.
        """
        known = self._runs[run]
        output = Output()
        if known.stop is None:
            output, known.stop = self._work_on_stop(message)
            known.held = 0
        return output, known.stop

    def _work_on_stop(self, message: Message) -> tuple[Output, Message]:
        try:
            results = self._call.results_on(message)
            events, chosen = sort_results(message, results, folds=True)
            stop = chosen or message
            if stop is not message:
                self._codec.encode(stop)  # it is sent later, with its totals
            return self._call.encoded(events), stop
        except (UnavailableError, UnusableMethodError):
            raise
        except BaseException as error:  # users' code may raise anything
            require_users_own(error)
            self._failed_stops += 1
            raise StageFailedError(
                f"{self._target} raised {in_words(error)} on a Stop, with what it held of "
                "the run; it is started again and gets that again"
            ) from error
