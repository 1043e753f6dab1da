"""`Listener`: the first stage of a chain, which receives from the outside world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

from arroyo.errors import EncodeError
from arroyo.messages import Message

from ._allocating import AllocatingStage


class Processor(Protocol):
    """What a listener hands its messages to: in a chain the framework, by hand an Operator."""

    def process(self, message: Message, token: Any = None) -> Any:
        """Take the message up. Blocks while the chain is full; callable from any thread.

        `token` identifies it in a replayable input (offset, delivery tag, file name).
        """
        ...


class Listener(AllocatingStage, ABC):
    """Receives messages from the outside world and hands them to ``self.operator``.

    `open()` is called first, `start()` when everything below is ready, `stop()` from another
    thread, `close()` at the end. A listener whose `start()` returns by itself has finished.
    `open()`, `start()` and `close()` may be async; they are awaited on one event loop.
    It may define ``acknowledge(token)``, which is called in order, from the framework's thread,
    when every sink has finished the message that `token` came with. Where one request for many
    is cheaper than one for each, define ``acknowledge_batch(tokens)`` in its place: it gets a
    list of those that were finished together, in order.

    A listener is *replayable* if its input begins again, after a restart, with the first message
    that was not acknowledged, in the same order: files, a log, a broker that keeps what nobody
    has committed. It says so by ``replayable = True``, and hands over each event with a token of
    its own (numbers, strings, bytes, or lists of them). Then the death of its process loses
    nothing: what comes again is known by its token and keeps its key, its run stays open, and
    sinks drop what they have finished. Of the messages under way, those that the input has lost
    are named in the Stop. A Start without a token that comes first is that of the open run; only
    a Stop, another Start, or the end of the input closes that. A `start()` that returns by itself
    says that the input has ended, so it has to hand over first what came before and was not
    acknowledged. The last tokens of a process that died may be acknowledged once more.

    An input that gives again what was not acknowledged, but in another order, to another replica,
    or under another name, as a queue of a broker does, is not replayable: its listener says
    ``redelivers = True``. Then the death of its process loses nothing either, but what was under
    way comes again as new messages, in another run and with new keys.
    """

    operator: Processor
    replayable: ClassVar[bool] = False
    redelivers: ClassVar[bool] = False
    shares_input: ClassVar[bool] = True
    """Whether replicas of this listener share out one input, as workers of a queue do.

    Where False, as for files of a directory, each would get all of it, and a chain file with more
    than one is refused.
    """
    state_directory: Path | None = None
    """Where a replayable listener may keep what its next life has to know, a folder of its own.

    Set before `open()`; None where no process of its own runs the listener, so that there is no
    next life.
    """

    def __init__(self, operator: Processor) -> None:
        self.operator = operator

    def open(self) -> None:
        """Get ready: bind, connect, look for the files. Raise to refuse the start."""

    @abstractmethod
    def start(self) -> None:
        """Receive until `stop()` or the end of the input; call ``self.operator.process()``."""

    @abstractmethod
    def stop(self) -> None:
        """Make `start()` return soon. Called from another thread, perhaps more than once."""

    def close(self) -> None:
        """Let go of everything. Called once, after `start()` has returned."""


class IteratingListener(Listener):
    """A listener over anything that can be iterated: files, rows, a generator."""

    _stopping: bool = False

    @abstractmethod
    def messages(self) -> Iterator[Message | tuple[Message, Any]]:
        """Yield messages, or pairs of message and token; ending it ends the listener."""

    def start(self) -> None:
        """Hand on what `messages()` yields, until it ends or `stop()` is called."""
        for item in self.messages():
            if isinstance(item, tuple):
                self.operator.process(item[0], token=item[1])
            else:
                self.operator.process(item)
            if self._stopping:
                return

    def stop(self) -> None:
        """End after the message in hand. `stopping` tells a generator that waits."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether `stop()` was called; a generator that waits should look at it often."""
        return self._stopping


class PollingListener(Listener):
    """A listener that asks its input again and again: a socket, a broker, a device."""

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
        """A message was refused, since it can't be sent; the default ends the listener by raising.

        Where anybody may send what they like, count it and go on.
        """
        raise error

    def stop(self) -> None:
        """Return from `start()` within `poll_s`."""
        self._stopping = True
