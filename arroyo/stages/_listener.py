"""`Listener`: the first stage of a chain, which receives from the outside world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

from arroyo.errors import EncodeError
from arroyo.messages import Message

from ._base import AllocatingStage, WaitingStage


class Processor(Protocol):
    """Takes the messages of a listener: in a chain the framework, without one an Operator."""

    def process(self, message: Message, token: Any = None) -> Any:
        """Take a message. Blocks while the window is full. From any thread.

        `token` identifies it in a replayable input (offset, delivery tag, file name).
        """
        ...


class Listener(AllocatingStage, WaitingStage, ABC):
    """Receives messages from the outside world and hands them to ``self.operator``.

    `open()` is called first, `start()` when everything below is ready, `stop()` from another
    thread, `close()` at the end. A listener whose `start()` returns by itself has finished.
    `open()`, `start()` and `close()` may be async; they are awaited on one event loop.
    It may define ``acknowledge(token)``, which is called in order, from the framework's thread,
    when every sink has finished the message that `token` came with. Where one request for many
    tokens is cheaper, define ``acknowledge_batch(tokens)`` instead: it gets a list of the tokens
    that were finished together, in order.

    A listener is *replayable* if its input begins again, after a restart, with the first message
    that was not acknowledged, in the same order: files, a log, a broker that keeps what was not
    committed. It sets ``replayable = True``, and hands over each event with a token of its own
    (numbers, strings, bytes, or lists of them). Then the death of its process loses nothing: a
    message that comes again is recognised by its token and keeps its key, its run stays open, and
    sinks drop what they have finished. The Stop counts messages in flight that the input has lost.
    A first Start without a token is that of the open run; only a Stop, another Start, or the end
    of the input closes the run. A `start()` that returns by itself says that the input has ended,
    so it first has to hand over all that was not acknowledged. The last tokens of a process that
    died may be acknowledged once more.

    An input that delivers again what was not acknowledged, but in another order, to another
    replica, or under another name, as a broker's queue does, is not replayable: its listener sets
    ``redelivers = True``. Then the death of its process loses nothing either, but messages in
    flight come again as new messages, in another run and with new keys.
    """

    operator: Processor
    replayable: ClassVar[bool] = False
    redelivers: ClassVar[bool] = False
    shares_input: ClassVar[bool] = True
    """Whether the replicas of this listener share one input, as workers of a queue do.

    If False, as for the files of a directory, each replica would get all of it, and a chain file
    with more than one is refused.
    """
    state_directory: Path | None = None
    """Folder of its own, in which a replayable listener may keep state for its next process.

    Set before `open()`; None where the listener has no process of its own, and so no next one.
    """

    def __init__(self, operator: Processor) -> None:
        self.operator = operator

    def open(self) -> None:
        """Prepare: bind, connect, look for the files. Raise to refuse the start."""

    @abstractmethod
    def start(self) -> None:
        """Receive until `stop()` or the end of the input; call ``self.operator.process()``."""

    @abstractmethod
    def stop(self) -> None:
        """Make `start()` return soon. Called from another thread, perhaps more than once."""

    def close(self) -> None:
        """Release everything. Called once, after `start()` has returned."""


class IteratingListener(Listener):
    """A listener for anything that can be iterated: files, rows, a generator."""

    _stopping: bool = False

    @abstractmethod
    def messages(self) -> Iterator[Message | tuple[Message, Any]]:
        """Yield messages, or pairs of message and token. Its end is the end of the listener."""

    def start(self) -> None:
        """Hand over what `messages()` yields, until it ends or `stop()` is called."""
        for item in self.messages():
            if isinstance(item, tuple):
                self.operator.process(item[0], token=item[1])
            else:
                self.operator.process(item)
            if self._stopping:
                return

    def stop(self) -> None:
        """End after the present message. A generator that waits sees it by `stopping`."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether `stop()` was called. A generator that waits should check it often."""
        return self._stopping


class PollingListener(Listener):
    """A listener that polls its input: a socket, a broker, a device."""

    poll_s: float = 0.1
    """How long one `poll()` may wait, and so how long `stop()` may take, in s."""

    _stopping: bool = False

    @abstractmethod
    def poll(self, timeout_s: float) -> Message | tuple[Message, Any] | None:
        """Wait up to `timeout_s` for a message (or message and token); None if none came."""

    def start(self) -> None:
        """Poll until `stop()` is called."""
        while not self._stopping:
            item = self.poll(self.poll_s)
            if item is None:
                continue
            try:
                if isinstance(item, tuple):
                    self.operator.process(item[0], token=item[1])
                else:
                    self.operator.process(item)
            except EncodeError as error:
                self.refuse(error)

    def refuse(self, error: EncodeError) -> None:
        """Handle a message that can't be sent; the default ends the listener by raising.

        An input to which anybody can send should count it and go on.
        """
        raise error

    def stop(self) -> None:
        """Return from `start()` within `poll_s`."""
        self._stopping = True
