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
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arroyo.codec import Reason
from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Message, Start, Stop
from arroyo.protocol.relay import Output
from arroyo.stages import Operator, Publisher

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOGGED_ERRORS = 20
"""Errors of one stage that are logged with their stack; later ones are only counted."""

FINISHED = Output()
FILTERED = Output(reason=Reason.FILTERED)
SKIPPED = Output(reason=Reason.SKIPPED)


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


class Trial:
    """Tries a call as often as ``on_error`` says, and counts what went wrong."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.errors = 0

    def run(self, call: Callable[[], T], message: Message) -> T | None:
        """Return what `call` returns; None where it raised for good and the message is skipped.

        Raises
        ------
        StageFailedError
            It raised and ``on_error`` is ``crash``.
        UnavailableError
            The outside world failed, which is not the message's fault: the stage has to be
            started again, and the message comes again.
        """
        for attempt in range(1 + self._stage.retries):
            try:
                return call()
            except UnavailableError:
                raise
            except Exception as error:
                self.errors += 1
                self._report(error, message, attempt)
                if self._stage.on_error == "crash":
                    raise StageFailedError(
                        f"{self._stage.target} raised {_in_words(error)} on {_label(message)}, "
                        'and on_error is "crash"'
                    ) from error
        return None

    def _report(self, error: Exception, message: Message, attempt: int) -> None:
        if self.errors > LOGGED_ERRORS:
            return
        again = attempt < self._stage.retries
        _log.warning(
            "%s raised %s on %s; %s%s",
            self._stage.target,
            _in_words(error),
            _label(message),
            "trying again" if again else "the message is skipped",
            "; further errors are only counted" if self.errors == LOGGED_ERRORS else "",
            exc_info=error,
        )


class OperatorCall(Generic[T]):
    """`process()` of one operator.

    Parameters
    ----------
    stage, operator
        The stage and its object.
    prepare
        Makes what goes on of a result, and says its bytes; may raise what a user has to hear.
    key_field
        Metadata field whose value decides which replica below gets a result.
    """

    def __init__(
        self,
        stage: Stage,
        operator: Operator,
        prepare: Callable[[Message], tuple[T, int]],
        key_field: str | None = None,
    ) -> None:
        self.trial = Trial(stage)
        self._operator = operator
        self._prepare = prepare
        self._key_field = key_field
        self._awaiter = Awaiter()
        self._outbox = _Outbox()
        self._process = operator.process
        if isinstance(operator, Operator):
            operator.add_publisher(self._outbox)

    def event(self, message: Message) -> Output:
        """Process a message between Start and Stop."""
        output = self.trial.run(lambda: self._event(message), message)
        return SKIPPED if output is None else output

    def _event(self, message: Message) -> Output:
        results = self._results(message)
        if not results:
            return FILTERED
        items, size, keys = [], 0, []
        for result in results:
            if isinstance(result, Start | Stop):
                raise StageError(
                    f"process() returned a {type(result).__name__} for a "
                    f"{type(message).__name__}; only a listener begins and ends runs"
                )
            item, item_size = self._prepare(result)
            items.append(item)
            size += item_size
            if self._key_field is not None:
                keys.append(key_of(result, self._key_field))
        return Output(items, size, None, keys)

    def control(self, message: Message) -> Output:
        """Process a Start or Stop; whatever comes of it, exactly one goes on."""
        prepared = self.trial.run(lambda: self._prepare(self._control(message)), message)
        item, size = self._prepare(message) if prepared is None else prepared
        return Output([item], size)

    def _control(self, message: Message) -> Message:
        chosen = message
        for result in self._results(message):
            if type(result) is not type(message):
                raise StageError(
                    f"process() returned a {type(result).__name__} for a "
                    f"{type(message).__name__}; nothing but a {type(message).__name__} can "
                    "take its place"
                )
            chosen = result
        return chosen

    def _results(self, message: Message) -> list[Message]:
        """Everything that one call publishes, yields and returns, in that order of time."""
        results: list[Message] = []
        self._outbox.messages = results
        returned: Any = self._process(message)
        if returned is None:
            return results
        if inspect.isawaitable(returned):
            returned = self._awaiter.finish(returned)
        elif isinstance(returned, AsyncIterable):
            returned = self._awaiter.collect(returned)
        for result in _each(returned):
            if not isinstance(result, Message):
                raise StageError(
                    f"process() returned {type(result).__name__} {result!r:.60}, "
                    "expected a message, several, or None"
                )
            results.append(result)
        return results

    def close(self) -> None:
        """Call the operator's `close()`."""
        if isinstance(self._operator, Operator):
            self._operator.close()
        self._awaiter.close()


class PublisherCall:
    """`publish()` of one publisher."""

    def __init__(self, stage: Stage, publisher: Publisher) -> None:
        self.trial = Trial(stage)
        self._publisher = publisher
        self._publish = publisher.publish
        self._awaiter = Awaiter()
        self.flush: Callable[[], Any] | None = getattr(publisher, "flush", None)

    def event(self, message: Message) -> Output:
        """Publish a message, of whatever kind."""
        output = self.trial.run(lambda: self._event(message), message)
        return SKIPPED if output is None else output

    control = event

    def _event(self, message: Message) -> Output:
        returned: Any = self._publish(message)
        if inspect.isawaitable(returned):
            self._awaiter.finish(returned)
        return FINISHED

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


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _label(message: Message) -> str:
    return f"{type(message).__name__} {message.key if message.origin else '(new)'}"
