"""Bodies: messages as msgpack, with large payloads beside it.

A body is one msgpack array of messages, so a receiver reads it in one call. Since the array is
its length and then its items, bodies are also made by joining messages that were encoded one by
one: at the source each is encoded when it is handed over, which is the moment to refuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, SlabReference, Start, Stop

Buffer: TypeAlias = bytes | bytearray | memoryview

DETACH_BYTES = 16 * 1024
"""Payloads from this size on travel as frames of their own, which saves a copy on either side."""


class Detached:
    """One message that is ready to travel in two pieces; `len()` gives the bytes of both."""

    __slots__ = ("body", "payload")

    def __init__(self, body: bytes, payload: bytes | memoryview) -> None:
        self.body = body
        self.payload = payload
        """Nobody may change it any more."""

    def __len__(self) -> int:
        return len(self.body) + len(self.payload)


class Shared:
    """One message whose payload lies in shared memory; `len()` gives the bytes of both."""

    __slots__ = ("body", "reference")

    def __init__(self, body: bytes, reference: SlabReference) -> None:
        self.body = body
        self.reference = reference

    def __len__(self) -> int:
        return len(self.body) + self.reference.length


Encoded: TypeAlias = bytes | Detached | Shared
"""One message, ready to travel: most are one piece."""

Keep: TypeAlias = Callable[[Buffer], SlabReference | None]
"""Puts a payload into shared memory and says where; None where it is to travel by itself."""


class MessageCodec:
    """Encodes and decodes the messages of one chain: the three of a run, and users' own types.

    Not thread-safe for decoding; `encode` may be called from any thread.
    """

    def __init__(self, types: Sequence[type[Message]] = ()) -> None:
        # A union in `|` form can't be spelt for a list of types, hence the loop.
        union: Any = Start | Event | Stop
        for extra in types:
            union = union | extra
        self._types = frozenset((Start, Event, Stop, *types))
        self._encode = msgspec.msgpack.Encoder(enc_hook=_encode_foreign).encode
        self._decoder = msgspec.msgpack.Decoder(list[union])

    def encode(self, message: Message, keep: Keep | None = None) -> Encoded:
        """Encode one message. Its payload is copied unless it is large and read-only.

        Parameters
        ----------
        message
            What to encode.
        keep
            Is offered each payload of DETACH_BYTES or more.

        Raises
        ------
        EncodeError
            It is of no message type of this chain, or holds what msgpack can't express.
        """
        kind = type(message)
        if kind not in self._types:
            raise EncodeError(
                f"{kind.__name__} is not a message type of this chain; "
                "name it under `messages` in [chain]"
            )
        try:
            if kind is Event or isinstance(message, Event):
                payload = message.payload  # type: ignore[attr-defined]
                if type(payload) is bytes:
                    length = len(payload)
                else:
                    length = (
                        payload if type(payload) is memoryview else memoryview(payload)
                    ).nbytes
                if length >= DETACH_BYTES:
                    return self._encode_in_two(message, keep)
                if type(payload) is memoryview and not payload.c_contiguous:
                    message = msgspec.structs.replace(message, payload=payload.tobytes())
            return self._encode(message)
        except (TypeError, ValueError, OverflowError, RecursionError, BufferError) as error:
            raise EncodeError(f"a {kind.__name__} can't be sent: {error}") from error

    def _encode_in_two(self, message: Message, keep: Keep | None) -> Encoded:
        payload = message.payload  # type: ignore[attr-defined]
        body = self._encode(msgspec.structs.replace(message, payload=b""))
        reference = None if keep is None else keep(payload)
        return Detached(body, freeze(payload)) if reference is None else Shared(body, reference)

    def pack(self, message: Message) -> bytes:
        """Encode one message in one piece, whatever the size of its payload; to be stored."""
        if isinstance(message, Event):
            message = msgspec.structs.replace(message, payload=freeze(message.payload))
        return self._encode(message)

    def unpack(self, packed: Buffer) -> Message:
        """Read back what `pack` made.

        Raises
        ------
        DecodeError
            It is none of this chain's messages.
        """
        return self.decode(b"".join((array_header(1), packed)), (), ())[0]

    def decode(
        self, body: Buffer, detached: Sequence[int], payloads: Sequence[Buffer]
    ) -> list[Message]:
        """Read a body back. Payloads are read-only views of the buffers given.

        Raises
        ------
        DecodeError
            The body is no list of this chain's messages, or payloads and positions don't fit.
        """
        try:
            messages: list[Message] = self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise DecodeError(f"a body is no list of messages of this chain: {error}") from error
        if len(detached) != len(payloads):
            raise DecodeError(f"{len(detached)} payloads were announced, {len(payloads)} came")
        for position, payload in zip(detached, payloads, strict=True):
            if not 0 <= position < len(messages):
                raise DecodeError(f"a payload belongs to message {position} of {len(messages)}")
            event = messages[position]
            if not isinstance(event, Event):
                raise DecodeError(f"a payload belongs to a {type(event).__name__}, not an Event")
            view = payload if isinstance(payload, memoryview) else memoryview(payload)
            # The very same view where it can be, so that a stage that passes it on is recognised.
            view = view if view.readonly else view.toreadonly()
            msgspec.structs.force_setattr(event, "payload", view)
        return messages


def join(items: Sequence[Encoded]) -> tuple[bytes, tuple[int, ...], list[bytes | memoryview]]:
    """Make one body of encoded messages: body, positions of detached payloads, payloads."""
    detached = [(index, item.payload) for index, item in enumerate(items) if type(item) is Detached]
    pieces: Sequence[Any] = items
    if not set(map(type, items)) <= {bytes}:
        pieces = [item if isinstance(item, bytes) else item.body for item in items]
    body = b"".join((array_header(len(items)), *pieces))
    return body, tuple(index for index, _ in detached), [payload for _, payload in detached]


def slabs_of(items: Sequence[Encoded]) -> tuple[tuple[int, SlabReference], ...]:
    """Return positions of messages whose payload lies in shared memory, and where."""
    if Shared not in set(map(type, items)):
        return ()
    return tuple(
        (index, item.reference) for index, item in enumerate(items) if type(item) is Shared
    )


def freeze(payload: Buffer) -> bytes | memoryview:
    """Return a payload as bytes that nobody changes any more, copied only if need be."""
    if isinstance(payload, bytes):
        return payload
    view = memoryview(payload)
    if view.readonly and view.c_contiguous:
        return view.cast("B") if view.format != "B" or view.ndim != 1 else view
    # Whoever gave it may write into it again as soon as process() has returned.
    return view.tobytes()


def array_header(count: int) -> bytes:
    """Return the head of a msgpack array of `count` items."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _encode_foreign(value: Any) -> Any:
    # numpy's scalars and arrays in metadata become numbers and lists; numpy isn't imported for it.
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise TypeError(f"{type(value).__name__} {value!r:.60} has no form in msgpack")
