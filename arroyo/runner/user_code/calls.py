"""Calls into users' code: the one place where anything may be raised.

An `OperatorCall` or `PublisherCall` turns whatever a user's method does (return, yield, publish,
await, raise) into an `Output` of the protocol. Nothing in here knows of sockets, so a chain of
processes and a chain in one process treat users' code alike.
"""

from __future__ import annotations

import inspect
import logging
import reprlib
import threading
import zlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from arroyo.codec import Body, Encoded, MessageCodec, Reason
from arroyo.config.graph import Stage
from arroyo.errors import RefusedError, StageError
from arroyo.messages import Event, Message, Origin, Start, Stop
from arroyo.protocol.relay.relay import Output
from arroyo.stages import Awaiter, Operator, Publisher, each_result, sort_results

from .methods import call_if_there, settle
from .trials import LOGGED_ERRORS, Failure, PutAside, Trial, label, require_users_own

_log = logging.getLogger(__name__)

FILTERED = Output(reason=Reason.FILTERED)
SKIPPED = Output(reason=Reason.SKIPPED)
QUARANTINED = Output(reason=Reason.QUARANTINED)


class Results:
    """What became of messages: those that make up one body, and all others beside it."""

    def __init__(self) -> None:
        self.body = Body()
        self._others: dict[int, Encoded | Output] = {}

    def __len__(self) -> int:
        return len(self.body) + len(self._others)

    def append(self, outcome: Encoded | Output) -> None:
        """Note what became of the next message."""
        self._others[len(self)] = outcome

    def __getitem__(self, index: int) -> Encoded | Output:
        return self.in_order()[index]

    def in_order(self) -> Sequence[Encoded | Output]:
        """Return one outcome per message; a `Body` where nothing has to be beside it."""
        if not self._others:
            return self.body
        singles = iter(self.body)
        others = self._others
        return [others[index] if index in others else next(singles) for index in range(len(self))]

    def so_far(self) -> Sequence[Encoded | Output]:
        """Return what is there while another thread appends; the last few may be missing."""
        # In this order: all that came before one of the singles is there when it is.
        singles, others = iter(self.body.so_far()), dict(self._others)
        found: list[Encoded | Output] = []
        while (outcome := others.get(len(found)) or next(singles, None)) is not None:
            found.append(outcome)
        return found


class ListedResults(list[Any]):
    """What became of messages, one by one."""

    def so_far(self) -> Sequence[Any]:
        """Return what is there while another thread appends."""
        return self[:]


class OperatorCall:
    """`process()` of one operator.

    A result is encoded when `process()` has returned it: later it may be changed, or be given
    again.

    Parameters
    ----------
    stage, operator
        The stage and its object.
    codec
        Makes what travels of a result; may raise what a user has to hear.
    key_field
        Metadata field whose value decides which replica below gets a result.
    aside
        Where messages go that it raises on.
    """

    def __init__(
        self,
        stage: Stage,
        operator: Operator,
        codec: MessageCodec,
        key_field: str | None = None,
        aside: PutAside | None = None,
    ) -> None:
        self._stage = stage
        self._operator = operator
        self._codec = codec
        self._key_field = key_field
        self._awaiter = Awaiter()
        self._outbox = _Outbox(stage.target, self._awaiter)
        self._events = Trial(
            stage, self._work_on, Results, skipped=SKIPPED, isolated=QUARANTINED, aside=aside
        )
        # A Start or Stop goes on all the same, so there is nothing to be put aside.
        self._controls: Trial[list[Encoded | None]]
        self._controls = Trial(
            stage, self._work_on_controls, list, skipped=None, isolated=None, aside=None
        )
        if isinstance(operator, Operator):
            operator._enter_chain(self._outbox)

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors + self._outbox.refused

    def open(self) -> None:
        """Call the operator's `open()`."""
        _open(self._operator, self._awaiter)

    def events(
        self, messages: Iterable[Message], results: Results | None = None
    ) -> Sequence[Encoded | Output]:
        """Process messages between Start and Stop; most become exactly one.

        `results`: where others may see meanwhile what has come of them.
        """
        return self._events.run(messages, results).in_order()

    def make_results(self) -> Results | ListedResults:
        """Make what `events` appends to."""
        return Results()

    def event(self, message: Message) -> Encoded | Output:
        """Process one."""
        return self.events((message,))[0]

    def _work_on(self, left: Iterator[Message], results: Results) -> Failure | None:
        process: Callable[[Message], Any] = self._operator.process
        write, write_again = self._codec.write, self._codec.write_again
        outbox, body, keyed = self._outbox, results.body, self._key_field is not None
        outbox.begin()
        try:
            for message in left:
                returned = process(message)
                # Nearly all return one small message; `write` takes nothing else.
                put = write_again if returned is message else write
                if keyed or outbox.messages or not put(returned, body):
                    results.append(self._outcome(message, returned))
                # Else it would live as long as the next call, with the payload that it may view.
                returned = None
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            outbox.messages = []  # there are no half outputs
            return message, error
        finally:
            outbox.end()
        return None

    def _outcome(self, message: Message, returned: Any) -> Encoded | Output:
        if type(returned) is Event and self._key_field is None and not self._outbox.messages:
            return self._codec.encode(returned)
        results = self._results(returned)
        sort_results(message, results)
        if not results:
            return FILTERED
        items = [self._codec.encode(result) for result in results]
        field = self._key_field
        if field is None and len(items) == 1:
            return items[0]
        keys = [] if field is None else [key_of(result, field) for result in results]
        return Output(items, sum(map(len, items)), None, keys)

    def control(self, message: Message) -> Encoded:
        """Process a Start or Stop; whatever comes of it, exactly one goes on."""
        return self._controls.run((message,))[0] or self._codec.encode(message)

    def _work_on_controls(
        self, left: Iterator[Message], items: list[Encoded | None]
    ) -> Failure | None:
        self._outbox.begin()
        try:
            for message in left:
                items.append(self._control(message))
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            self._outbox.messages = []
            return message, error
        finally:
            self._outbox.end()
        return None

    def _control(self, message: Message) -> Encoded:
        _, chosen = sort_results(message, self._results(self._operator.process(message)))
        return self._codec.encode(chosen or message)

    def _results(self, returned: Any) -> list[Message]:
        """Everything that one call published, yielded and returned, in that order of time."""
        results = self._outbox.messages
        if inspect.isawaitable(returned):
            returned = self._awaiter.finish(returned)
        elif isinstance(returned, AsyncIterable):
            returned = self._awaiter.collect(returned)
        try:
            results.extend(each_result(returned))
        finally:
            self._outbox.messages = []
        return results

    def close(self) -> None:
        """Call the operator's `close()`."""
        _close(self._operator, self._awaiter)


class PublisherCall:
    """`publish()` of one publisher."""

    def __init__(self, stage: Stage, publisher: Publisher, aside: PutAside | None = None) -> None:
        self._events: Trial[list[Output | None]]
        self._events = Trial(
            stage, self._work_on, list, skipped=SKIPPED, isolated=QUARANTINED, aside=aside
        )
        self._controls: Trial[list[Output | None]]
        self._controls = Trial(
            stage, self._work_on, list, skipped=SKIPPED, isolated=SKIPPED, aside=None
        )
        self.publisher = publisher
        self._awaiter = Awaiter()
        self._unflushed = 0
        """Events that were published since the last `flush()`."""

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors

    def open(self) -> None:
        """Call the publisher's `open()`."""
        _open(self.publisher, self._awaiter)

    def events(
        self, messages: Iterable[Message], results: ListedResults | None = None
    ) -> list[Output | None]:
        """Publish messages between Start and Stop; None: done.

        `results`: where others may see meanwhile what has been done.
        """
        return self._events.run(messages, results)

    def make_results(self) -> ListedResults:
        """Make what `events` appends to."""
        return ListedResults()

    def event(self, message: Message) -> Output | None:
        """Publish one."""
        return self.events((message,))[0]

    def control(self, message: Message) -> Output | None:
        """Publish a Start or Stop."""
        return self._controls.run((message,))[0]

    def _work_on(self, left: Iterator[Message], done: list[Output | None]) -> Failure | None:
        publish: Callable[[Message], Any] = self.publisher.publish
        before = len(done)
        try:
            for message in left:
                returned = publish(message)
                if returned is not None:
                    settle(returned, self.publisher, "publish", self._awaiter)
                    returned = None
                done.append(None)
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            return message, error
        finally:
            self._unflushed += len(done) - before
        return None

    @property
    def flushes(self) -> bool:
        """Whether what was published counts only after a `flush()`."""
        return getattr(self.publisher, "flush", None) is not None

    def flush(self) -> Mapping[Origin, Reason]:
        """Call the publisher's `flush()`, if it has one.

        Returns
        -------
        How those events have ended that the outside world has refused; all others are published.
        """
        count, self._unflushed = self._unflushed, 0
        try:
            call_if_there(self.publisher, "flush", self._awaiter)
        except RefusedError as error:
            return dict(self._refuse(error.refused, others=count > len(error.refused)))
        if count:
            self._events.note_accepted()
        return {}

    def _refuse(
        self, refused: Iterable[tuple[Message, Exception]], *, others: bool
    ) -> Iterator[tuple[Origin, Reason]]:
        """Give messages up; `others`: those published with them were accepted."""
        for message, error in refused:
            if isinstance(message, Start | Stop):
                self._controls.refuse(message, error)
                continue
            if others:
                self._events.note_accepted()
            output: Output = self._events.refuse(message, error)
            if message.origin is not None and output.reason is not None:
                yield message.origin, output.reason

    def close(self) -> None:
        """Call the publisher's `close()`."""
        _close(self.publisher, self._awaiter)


class _Outbox(Publisher):
    """Buffers what an operator publishes until `process()` returns.

    So a call that fails leaves no partial output, and results get the identity of the message in
    hand. What is published at any other time, or from another thread, would get that of whichever
    message is in hand by then, if any: it is refused.
    """

    def __init__(self, target: str, awaiter: Awaiter) -> None:
        self.messages: list[Message] = []
        self.refused = 0
        self._target = target
        self._awaiter = awaiter
        self._thread: int | None = None
        """The thread that calls `process()` now."""

    def begin(self) -> None:
        """The calling thread calls `process()` from here on."""
        self._thread = threading.get_ident()

    def end(self) -> None:
        """The call has ended."""
        self._thread = None

    def publish(self, message: Message) -> None:
        awaiter = self._awaiter
        mine = awaiter.is_caller if awaiter.busy else self._thread == threading.get_ident()
        if not mine:
            raise self._refusal()
        if not isinstance(message, Message):
            raise StageError(
                f"publish() got {type(message).__name__} {reprlib.repr(message)}, "
                "expected a message"
            )
        self.messages.append(message)

    def _refusal(self) -> StageError:
        error = StageError(
            f"{self._target} called publish() outside process(), in thread "
            f"{threading.current_thread().name!r}; nothing was published. A result belongs to the "
            "message that process() works on: return it, or publish it in the thread that "
            "process() was called in, before it returns"
        )
        self.refused += 1
        if self.refused <= LOGGED_ERRORS:
            # The thread may keep the error to itself.
            _log.warning("%s", error)
        return error


def _open(stage: object, awaiter: Awaiter) -> None:
    try:
        call_if_there(stage, "open", awaiter)
    except BaseException:
        awaiter.close()
        raise


def _close(stage: object, awaiter: Awaiter) -> None:
    try:
        call_if_there(stage, "close", awaiter)
    finally:
        awaiter.close()


def key_of(message: Message, field: str) -> int:
    """Return the number that decides which replica gets a message: same value, same number.

    Raises
    ------
    StageError
        The message has no such metadata (or, for users' own types, attribute).
    """
    metadata = getattr(message, "metadata", None)
    source = metadata if isinstance(metadata, dict) else vars_of(message)
    if field not in source:
        raise StageError(
            f'a stage below asks for dispatch = "key:{field}", but {label(message)} has no {field}'
        )
    value = source[field]
    # A number of numpy is the same value as the one of Python that arrives in its place.
    return zlib.crc32(repr(value.tolist() if hasattr(value, "tolist") else value).encode())


def vars_of(message: Message) -> dict[str, Any]:
    """Fields of a message by name."""
    return {name: getattr(message, name) for name in message.__struct_fields__}
