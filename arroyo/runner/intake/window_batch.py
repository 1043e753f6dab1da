"""`WindowBatch`: messages that a listener handed over and that will travel together."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from arroyo.codec import Body, Encoded, Kind, Shared
from arroyo.messages import Event, Message, Start, Stop
from arroyo.protocol.values.flow_limits import BATCH_MESSAGES

BATCH_BYTES = 1024 * 1024
"""A batch takes no further message once so much of it goes through the socket."""


_KINDS: dict[type[Message], Kind] = {Start: Kind.START, Event: Kind.EVENTS, Stop: Kind.STOP}


def kind_of(message: Message) -> Kind:
    """Return the kind of batch in which a message travels."""
    kind = _KINDS.get(type(message))
    if kind is None:
        kind = Kind.START if isinstance(message, Start) else Kind.EVENTS
        kind = Kind.STOP if isinstance(message, Stop) else kind
    return kind


class WindowRun(msgspec.Struct):
    """Counts what was dropped of one run, for its Stop to tell."""

    implicit: bool = True
    dropped: int = 0


class WindowBatch:
    """Events that will travel together, or one Start or Stop.

    It is filled where messages come in, so that nothing is left to do for each message where
    they leave.
    """

    __slots__ = (
        "body",
        "counted",
        "handed_ns",
        "inline",
        "items",
        "keys",
        "kind",
        "message",
        "run",
        "size",
        "tokens",
    )

    def __init__(self, kind: Kind, run: WindowRun, message: Any, *, packs: bool = False) -> None:
        self.kind = kind
        self.run = run
        self.message = message
        self.handed_ns = time.monotonic_ns()
        self.body = Body() if packs else None
        """The items, for as long as they are of one piece each and need not be kept apart."""
        self.items: Body | list[Encoded] = [] if self.body is None else self.body
        self.tokens: list[Any] = []
        """One per item where any has one; else empty."""
        self.keys: list[int] = []
        self.size = self.counted = 0
        """Bytes, and messages of the body, as far as they are counted; see `InputWindow._count`."""
        self.inline = 0
        """Bytes that go through the socket, of items that are kept apart."""

    def add(self, item: Encoded, size: int, token: Any, key: int | None) -> None:
        """Take one more message of `size` bytes."""
        if key is not None:
            self.keys.append(key)
        self.size += size
        if self.body is not None and type(item) is bytes:
            self.body.append(item)
            self.counted += 1
        else:
            self._list().append(item)
            self.inline += len(item.body) if type(item) is Shared else size
        if token is not None or self.tokens:
            self.add_token(token)

    def _list(self) -> list[Encoded]:
        """Keep items apart from now on, if that is not so yet."""
        if self.body is not None:
            self.items, self.inline, self.body = list(self.body), self.body.size, None
        assert isinstance(self.items, list)
        return self.items

    def add_token(self, token: Any) -> None:
        """Note the token of the item that was added last."""
        self.tokens += [None] * (len(self.items) - 1 - len(self.tokens))
        self.tokens.append(token)

    @property
    def is_full(self) -> bool:
        """Return True if the next message begins another batch."""
        inline = self.size if self.body is not None else self.inline
        return len(self.items) >= BATCH_MESSAGES or inline >= BATCH_BYTES

    def drop_first(self) -> Encoded:
        """Give up the first message, and return it."""
        item = self._list().pop(0)
        del self.tokens[:1], self.keys[:1]
        self.size -= len(item)
        return item

    def split(self, count: int) -> tuple[WindowBatch, WindowBatch]:
        """Return the first `count` messages and the others."""
        first, rest = (WindowBatch(self.kind, self.run, self.message) for _ in range(2))
        for part, where in ((first, slice(None, count)), (rest, slice(count, None))):
            part.handed_ns = self.handed_ns
            part.items, part.tokens = self._list()[where], self.tokens[where]
            part.keys = self.keys[where]
            part.size = sum(map(len, part.items))
        return first, rest
