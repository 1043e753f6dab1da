"""`OperatorCall`: calls of one operator's `process()`, or `process_batch()`.

Whatever a user's method does (return, yield, publish, await, raise) becomes an `Output` of the
protocol. Nothing in here knows of sockets, so a chain of processes and a chain in one process treat
users' code alike.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from arroyo.codec import DETACH_BYTES, Encoded, MessageCodec
from arroyo.config.graph import Stage
from arroyo.messages import Event, Message
from arroyo.protocol.values.deliveries import Output, Work
from arroyo.stages import Operator, each_result, require_results, sort_results

from .current_message import CurrentMessage
from .dispatch_key import key_of
from .error_policy import ErrorPolicy, Failure, require_users_own
from .list_call import ListCall, OwnPayloads
from .methods import StageMethods
from .operator_outbox import OperatorOutbox
from .results import FILTERED, QUARANTINED, SKIPPED, Results

if TYPE_CHECKING:
    from arroyo.runner.quarantine.writer import QuarantineWriter

_NO_DTYPE, _NO_SHAPE = "", ()


class OperatorCall:
    """`process()` of one operator, or `process_batch()` where it has that.

    A result is encoded when `process()` has returned it: later it may be changed, or be given
    again.

    Parameters
    ----------
    codec
        Makes what travels of a result; may raise what a user has to hear.
    current
        Where the message is noted that the code works on.
    key_field
        Metadata field whose value decides which replica below gets a result.
    quarantine
        Where messages go that it raises on.
    """

    def __init__(
        self,
        stage: Stage,
        operator: Operator,
        codec: MessageCodec,
        current: CurrentMessage,
        *,
        key_field: str | None = None,
        quarantine: QuarantineWriter | None = None,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        self._stage = stage
        self._codec = codec
        self._current = current
        self._key_field = key_field
        self.methods = StageMethods(operator)
        self._awaiter = self.methods.awaiter
        self._outbox = OperatorOutbox(stage.target, self._awaiter)
        self._events = ErrorPolicy(
            stage,
            self._work_on,
            Results,
            skipped=SKIPPED,
            quarantined=QUARANTINED,
            quarantine=quarantine,
            due=current.due,
        )
        # A Start or Stop goes on all the same, so there is nothing to quarantine.
        self._controls: ErrorPolicy[Message, list[Encoded | None]]
        self._controls = ErrorPolicy(
            stage, self._work_on_controls, list, skipped=None, quarantined=None, quarantine=None
        )
        if isinstance(operator, Operator):
            operator._enter_chain(self._outbox)
        self._hears: Callable[[Message], Any] = getattr(operator, "process", lambda _: None)
        """What gets Start and Stop."""
        self._lists = ListCall(
            self.methods, "process", self._finish_list, self._events, current, restore=restore
        )
        self._process, self._method = self._lists.single, self._lists.method
        self.takes_lists = self._lists.takes_lists
        """Whether it works on all messages of a batch at once."""

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors + self._outbox.refused

    def events(
        self, work: Sequence[Work], results: Results | None = None
    ) -> Sequence[Encoded | Output]:
        """Process messages between Start and Stop; most become exactly one.

        Once results are due, those are left out that were not begun.

        `results`: where others may see meanwhile what has come of them.
        """
        results = Results() if results is None else results
        if not (self.takes_lists and self._work_together(work, results)):
            self._events.run(work, results)
        return results.in_order()

    def together(self, work: Sequence[Work]) -> Sequence[Encoded | Output]:
        """Return what becomes of a list; nothing where it has to be tried one by one."""
        results = Results()
        self._work_together(work, results)
        return results.in_order()

    def _work_together(self, work: Sequence[Work], results: Results) -> bool:
        self._outbox.begin(takes_lists=True)
        try:
            return self._lists.work_together(work, results)
        finally:
            self._outbox.end()

    def make_results(self) -> Results:
        """Make what `events` appends to."""
        return Results()

    def _work_on(  # noqa: C901, PLR0912  (the loop is one function on purpose)
        self, left: Iterator[Work], results: Results
    ) -> Failure[Work] | None:
        process = self._process
        write, encode_into = self._codec.write, self._codec.encode_into
        outbox, body, keyed = self._outbox, results.body, self._key_field is not None
        buffer = body.buffer
        hand = self._current
        due, word, make_origin = hand.due, hand.sequence, hand.make_origin
        end = len(buffer)
        payload: Any
        outbox.begin(takes_lists=self.takes_lists)
        try:
            for sequence, fragment, message in left:
                word[0] = sequence
                message._make_origin = make_origin
                message._origin = sequence
                if fragment:
                    hand.note_part(message, sequence, fragment)
                returned = process(message)
                # Nearly all return one small event. It is encoded as `write` does it, without the
                # call, which would be a tenth of this loop.
                if type(returned) is Event and not keyed and not outbox.messages:
                    payload, metadata = returned.payload, returned.metadata
                    if (
                        (type(payload) is memoryview and payload.nbytes < DETACH_BYTES)
                        or (type(payload) is bytes and len(payload) < DETACH_BYTES)
                    ) and (
                        returned.dtype is _NO_DTYPE
                        and returned.shape is _NO_SHAPE
                        and type(metadata) is dict
                    ):
                        for key in metadata:
                            if type(key) is not str:
                                break
                        else:
                            try:
                                encode_into(returned, buffer, -1)
                            except BaseException as error:
                                del buffer[end:]
                                if not isinstance(error, Exception):
                                    raise
                                # What is wrong is said below.
                            else:
                                body.length += 1
                                end = len(buffer)
                                returned = payload = None
                                if due:
                                    break
                                continue
                if keyed or outbox.messages or not write(returned, body, end):
                    results.append(self._outcome(message, returned))
                end = len(buffer)
                # Else it would live as long as the next call, with the payload that it may view.
                returned = payload = None
                if due:
                    break
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            outbox.messages = []  # there are no half outputs
            return (sequence, fragment, message), error
        finally:
            outbox.end()
        return None

    def _finish_list(self, work: Sequence[Work], returned: Any) -> Results:
        """Return what becomes of each message of a list that the code has worked on."""
        found = require_results(returned, len(work))
        others: list[int] = []
        singles = found
        if not set(map(type, found)) <= {Event}:
            others = [index for index, result in enumerate(found) if type(result) is not Event]
            singles = [each for each in found if type(each) is Event]
        body = self._codec.write_list(singles) if self._key_field is None else None
        if body is None:
            return self._finish_each(work, found)
        payloads = OwnPayloads(work)
        return Results(
            body, {index: self._finish(work[index], found[index], payloads) for index in others}
        )

    def _finish_each(self, work: Sequence[Work], found: Sequence[Any]) -> Results:
        """Do as `_finish_list` where some results are large, or else out of the ordinary."""
        results, payloads, keyed = Results(), OwnPayloads(work), self._key_field is not None
        write, body = self._codec.write, results.body
        for index, result in enumerate(found):
            if keyed or not write(result, body, len(body.buffer)):
                results.append(self._finish(work[index], result, payloads))
        return results

    def _finish(self, each: Work, result: Any, payloads: OwnPayloads) -> Encoded | Output:
        """Return what becomes of one message of a list."""
        sequence, _, message = each
        self._current.sequence[0] = sequence  # a slab that is filled now is this one's
        return self._outcome(message, payloads.own(message, result))

    def _outcome(self, message: Message, returned: Any) -> Encoded | Output:
        if type(returned) is Event and self._key_field is None and not self._outbox.messages:
            return self._codec.encode(returned)
        results = self._results(returned, self._method)
        sort_results(message, results, method=self._method)
        if not results:
            return FILTERED
        if self._key_field is None and len(results) == 1:
            return self._codec.encode(results[0])
        return self.encoded(results)

    def control(self, message: Message) -> Encoded:
        """Process a Start or Stop; whatever comes of it, exactly one goes on."""
        return self._controls.run((message,))[0] or self._codec.encode(message)

    def _work_on_controls(
        self, left: Iterator[Message], items: list[Encoded | None]
    ) -> Failure[Message] | None:
        try:
            for message in left:
                _, chosen = sort_results(message, self.results_on(message))
                items.append(self._codec.encode(chosen or message))
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            return message, error
        return None

    def results_on(self, message: Message) -> list[Message]:
        """Return all that `process()` gives out on one message; what it raises comes out."""
        self._outbox.begin()
        try:
            return self._results(self._hears(message), "process")
        finally:
            self._outbox.end()
            self._outbox.messages = []  # there are no half outputs

    def _results(self, returned: Any, method: str) -> list[Message]:
        """Return all that one call published, yielded and returned, in that order of time."""
        results = self._outbox.messages
        if inspect.isawaitable(returned):
            returned = self._awaiter.finish(returned)
        elif isinstance(returned, AsyncIterable):
            returned = self._awaiter.collect(returned)
        try:
            results.extend(each_result(returned, method))
        finally:
            self._outbox.messages = []
        return results

    def encoded(self, results: Sequence[Message]) -> Output:
        """Return what travels of several results of one message."""
        field = self._key_field
        keys = [] if field is None else [key_of(result, field) for result in results]
        items = self._codec.encode_all(results)
        return Output(items, sum(map(len, items)), None, keys)
