"""Calls into users' code: the one place where anything may be raised.

An `OperatorCall` or `PublisherCall` turns whatever a user's method does (return, yield, publish,
await, raise) into an `Output` of the protocol. Nothing in here knows of sockets, so a chain of
processes and a chain in one process treat users' code alike.
"""

from __future__ import annotations

import inspect
import logging
import zlib
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from arroyo.codec import Encoded, Reason
from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.protocol.relay import Output
from arroyo.stages import Operator, Publisher

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOGGED_ERRORS = 20
"""Errors of one stage that are logged with their stack; later ones are only counted."""

FILTERED = Output(reason=Reason.FILTERED)
SKIPPED = Output(reason=Reason.SKIPPED)
QUARANTINED = Output(reason=Reason.QUARANTINED)


class StageFailedError(StageError):
    """A stage's code raised, and its ``on_error`` is ``crash``."""


class Awaiter:
    """Runs coroutines of async stages to their end, one at a time, on one event loop."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def finish(self, awaitable: Awaitable[T]) -> T:
        """Return what `awaitable` comes to."""
        if self._runner is None:
            import asyncio  # here, since loading it takes as long as half of a stage's start

            self._runner = asyncio.Runner()
        return self._runner.run(_await(awaitable))

    def collect(self, messages: AsyncIterable[Message]) -> list[Message]:
        """Return all that an async generator yields."""
        return self.finish(_collect(messages))

    def close(self) -> None:
        """End the event loop, and what still runs on it."""
        if self._runner is not None:
            self._runner.close()


class PutAside(Protocol):
    """Keeps messages that a stage's code fails on; see `isolation.Isolation`."""

    def put(self, message: Message, error: Exception, attempts: int) -> None:
        """Keep a message that it raised on; an error of Arroyo where that can't be."""
        ...

    def note_success(self) -> None:
        """It has worked on a message."""
        ...


class Trial(Generic[T]):
    """Tries a call as often as ``on_error`` says, and counts what went wrong.

    Parameters
    ----------
    stage
        Whose code is called.
    call
        What is done with each message.
    skipped, isolated
        What stands for a message that is given up, and for one that is put aside.
    aside
        Where messages are put aside; None: they are given up instead.
    """

    def __init__(
        self,
        stage: Stage,
        call: Callable[[Message], T],
        skipped: T,
        isolated: T,
        aside: PutAside | None,
    ) -> None:
        self._stage = stage
        self._call = call
        self._skipped = skipped
        self._isolated = isolated
        self._aside = None if stage.on_error == "skip" else aside
        self._last_word = "it is skipped" if self._aside is None else "it is put aside"
        self.errors = 0

    def run(self, messages: Iterable[Message], attempt: int = 0) -> list[T]:
        """Return, for each message, what the call returns or what stands for it if that raised.

        This is the loop that all messages go through: what does not depend on the message is
        outside of it.

        Raises
        ------
        StageError
            It raised and ``on_error`` is ``crash``, or it does on every message.
        UnavailableError
            The outside world failed, which is not the message's fault: the stage has to be
            started again, and the message comes again.
        """
        outcomes: list[T] = []
        call, append = self._call, outcomes.append
        left = iter(messages)
        failed = 0
        while True:
            try:
                for message in left:
                    append(call(message))
                self._note_success(len(outcomes) - failed)
                return outcomes
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  (users' code may raise anything)
                raised = error
            self._note_success(len(outcomes) - failed)
            append(self._after(raised, message, attempt))
            failed = len(outcomes)

    def _note_success(self, times: int) -> None:
        if times and self._aside is not None:
            self._aside.note_success()

    def _after(self, error: Exception, message: Message, attempt: int) -> T:
        """Decide what stands for a message that the call raised on."""
        self._report(error, message, attempt)
        if self._stage.on_error == "crash":
            raise StageFailedError(
                f"{self._stage.target} raised {in_words(error)} on {_label(message)}, "
                'and on_error is "crash"'
            ) from error
        if attempt < self._stage.retries:
            return self.run((message,), attempt + 1)[0]
        if self._aside is None:
            return self._skipped
        self._aside.put(message, error, attempt + 1)
        return self._isolated

    def _report(self, error: Exception, message: Message, attempt: int) -> None:
        self.errors += 1
        if self.errors > LOGGED_ERRORS:
            return
        again = attempt < self._stage.retries
        _log.warning(
            "%s raised %s on %s; %s%s",
            self._stage.target,
            in_words(error),
            _label(message),
            "trying again" if again else self._last_word,
            "; further errors are only counted" if self.errors == LOGGED_ERRORS else "",
            exc_info=error,
        )


class OperatorCall:
    """`process()` of one operator.

    Parameters
    ----------
    stage, operator
        The stage and its object.
    encode
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
        encode: Callable[[Message], Encoded],
        key_field: str | None = None,
        aside: PutAside | None = None,
    ) -> None:
        self._stage = stage
        self._operator = operator
        self._encode = encode
        self._key_field = key_field
        self._awaiter = Awaiter()
        self._outbox = _Outbox()
        self._process = operator.process
        self._events: Trial[Encoded | Output]
        self._events = Trial(stage, self._event, SKIPPED, QUARANTINED, aside)
        # A Start or Stop goes on all the same, so there is nothing to be put aside.
        self._controls: Trial[Encoded | None] = Trial(stage, self._control, None, None, None)
        if isinstance(operator, Operator):
            operator.add_publisher(self._outbox)

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors

    def events(self, messages: Iterable[Message]) -> list[Encoded | Output]:
        """Process messages between Start and Stop; most become exactly one."""
        return self._events.run(messages)

    def event(self, message: Message) -> Encoded | Output:
        """Process one."""
        return self.events((message,))[0]

    def _event(self, message: Message) -> Encoded | Output:
        if self._outbox.messages:
            self._outbox.messages = []  # the call before raised: there are no half outputs
        returned = self._process(message)
        if type(returned) is Event and not self._outbox.messages and self._key_field is None:
            return self._encode(returned)  # what nearly all of them do
        results = self._results(returned)
        for result in results:
            if isinstance(result, Start | Stop):
                raise StageError(
                    f"process() returned a {type(result).__name__} for a "
                    f"{type(message).__name__}; only a listener begins and ends runs"
                )
        if not results:
            return FILTERED
        items = [self._encode(result) for result in results]
        field = self._key_field
        keys = [] if field is None else [key_of(result, field) for result in results]
        return Output(items, sum(map(len, items)), None, keys)

    def control(self, message: Message) -> Encoded:
        """Process a Start or Stop; whatever comes of it, exactly one goes on."""
        return self._controls.run((message,))[0] or self._encode(message)

    def _control(self, message: Message) -> Encoded:
        self._outbox.messages = []
        chosen = message
        for result in self._results(self._process(message)):
            if type(result) is not type(message):
                raise StageError(
                    f"process() returned a {type(result).__name__} for a "
                    f"{type(message).__name__}; nothing but a {type(message).__name__} can "
                    "take its place"
                )
            chosen = result
        return self._encode(chosen)

    def _results(self, returned: Any) -> list[Message]:
        """Everything that one call published, yielded and returned, in that order of time."""
        results = self._outbox.messages
        if inspect.isawaitable(returned):
            returned = self._awaiter.finish(returned)
        elif isinstance(returned, AsyncIterable):
            returned = self._awaiter.collect(returned)
        try:
            for result in _each(returned):
                if not isinstance(result, Message):
                    raise StageError(
                        f"process() returned {type(result).__name__} {result!r:.60}, "
                        "expected a message, several, or None"
                    )
                results.append(result)
        finally:
            self._outbox.messages = []
        return results

    def close(self) -> None:
        """Call the operator's `close()`."""
        if isinstance(self._operator, Operator):
            self._operator.close()
        self._awaiter.close()


class PublisherCall:
    """`publish()` of one publisher."""

    def __init__(self, stage: Stage, publisher: Publisher, aside: PutAside | None = None) -> None:
        self._events: Trial[Output | None]
        self._events = Trial(stage, self._event, SKIPPED, QUARANTINED, aside)
        self._controls: Trial[Output | None]
        self._controls = Trial(stage, self._event, SKIPPED, SKIPPED, None)
        self._publisher = publisher
        self._publish = publisher.publish
        self._awaiter = Awaiter()
        self.flush: Callable[[], Any] | None = getattr(publisher, "flush", None)

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors

    def events(self, messages: Iterable[Message]) -> list[Output | None]:
        """Publish messages between Start and Stop; None: done."""
        return self._events.run(messages)

    def event(self, message: Message) -> Output | None:
        """Publish one."""
        return self.events((message,))[0]

    def control(self, message: Message) -> Output | None:
        """Publish a Start or Stop."""
        return self._controls.run((message,))[0]

    def _event(self, message: Message) -> Output | None:
        returned: Any = self._publish(message)
        if returned is not None and inspect.isawaitable(returned):
            self._awaiter.finish(returned)
        return None

    def close(self) -> None:
        """Call the publisher's `close()`."""
        if isinstance(self._publisher, Publisher):
            self._publisher.close()
        self._awaiter.close()


class _Outbox(Publisher):
    """Stands for all publishers of an operator: collects until `process()` has returned."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> None:
        if not isinstance(message, Message):
            raise StageError(
                f"publish() got {type(message).__name__} {message!r:.60}, expected a message"
            )
        self.messages.append(message)


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
            f'a stage below asks for dispatch = "key:{field}", but {_label(message)} has no {field}'
        )
    return zlib.crc32(repr(source[field]).encode())


def vars_of(message: Message) -> dict[str, Any]:
    """Fields of a message by name."""
    return {name: getattr(message, name) for name in message.__struct_fields__}


def _each(returned: Any) -> Iterator[Any]:
    if isinstance(returned, Message):
        yield returned
    elif isinstance(returned, Iterable) and not isinstance(returned, str | bytes | dict):
        yield from returned
    elif returned is not None:
        yield returned


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _collect(messages: AsyncIterable[Message]) -> list[Message]:
    return [message async for message in messages]


def in_words(error: BaseException) -> str:
    """Return class and text of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _label(message: Message) -> str:
    return f"{type(message).__name__} {message.key if message.origin else '(new)'}"
