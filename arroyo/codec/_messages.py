"""`MessageCodec`: messages as msgpack, with large payloads beside it.

A body is one msgpack array of messages, so a receiver reads it in one call. Since the array is
its length and then its items, bodies are made of messages that were encoded one by one: each is
encoded when it is handed over, which is the moment to refuse it, and before its maker can change
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, SlabReference, Start, Stop

from ._body import Body, Detached, Encoded, Shared, array_header, split
from ._mistakes import say_mistake
from ._unreadable import Unreadable, in_one_piece

Buffer: TypeAlias = bytes | bytearray | memoryview

_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, BufferError)

DETACH_BYTES = 16 * 1024
"""Payloads from this size on travel as frames of their own, which saves a copy on either side."""


Keep: TypeAlias = Callable[[Buffer], SlabReference | None]
"""Puts a payload into shared memory and says where; None where it is to travel by itself."""


class MessageCodec:
    """Encodes and decodes the messages of one chain: the three of a run, and users' own types.

    Not thread-safe for decoding; `encode` may be called from any thread, and `write` by one at a
    time for each body.

    Attributes
    ----------
    keep
        Is offered each payload of DETACH_BYTES or more; None: they travel beside the body.
    """

    def __init__(self, types: Sequence[type[Message]] = ()) -> None:
        self.keep: Keep | None = None
        # A union in `|` form can't be spelt for a list of types, hence the loop.
        union: Any = Start | Event | Stop
        for extra in types:
            union = union | extra
        self._types: frozenset[type[Message]] = frozenset((Start, Event, Stop, *types))
        self._bare = frozenset(kind for kind in types if not issubclass(kind, Start | Event | Stop))
        """Types that have no payload, and don't begin or end a run."""
        encoder = msgspec.msgpack.Encoder(enc_hook=_encode_foreign)
        self._encode, self._encode_into = encoder.encode, encoder.encode_into
        self._decoder = msgspec.msgpack.Decoder(list[union])
        self._single_decoder = msgspec.msgpack.Decoder(union)
        self._by_name = {kind.__name__: kind for kind in self._types}

    def write(self, message: Message, body: Body) -> bool:
        """Append a message to a body, as nearly all can be; False where nothing was written.

        That is so for what is no Event and no type of the user's, is too large, or can't be
        encoded: `encode` knows what to do with it, or says what is wrong.
        """
        kind = type(message)
        buffer = body.buffer
        end = len(buffer)
        try:
            if kind is Event:
                payload: Any = message.payload  # type: ignore[attr-defined]
                is_view = type(payload) is memoryview
                if not is_view and type(payload) is not bytes:
                    return False
                if (payload.nbytes if is_view else len(payload)) >= DETACH_BYTES:
                    return False
            elif kind not in self._bare:
                return False
            self._encode_into(message, buffer, -1)
        except _UNENCODABLE:
            del buffer[end:]
            return False
        except BaseException:
            del buffer[end:]
            raise
        body.length += 1
        return True

    def encode(self, message: Message) -> Encoded:
        """Encode one message. Its payload is copied unless it is large and read-only.

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
            if isinstance(message, Event):
                payload = message.payload
                if type(payload) is bytes:
                    length = len(payload)
                else:
                    length = (
                        payload if type(payload) is memoryview else memoryview(payload)
                    ).nbytes
                if length >= DETACH_BYTES:
                    return self._encode_in_two(message)
                if type(payload) is memoryview and not payload.c_contiguous:
                    message = msgspec.structs.replace(message, payload=payload.tobytes())
            return self._encode(message)
        except _UNENCODABLE as error:
            raise EncodeError(f"a {kind.__name__} can't be sent: {error}") from error

    def _encode_in_two(self, message: Event) -> Encoded:
        payload = message.payload
        body = self._encode(msgspec.structs.replace(message, payload=b""))
        reference = None if self.keep is None else self.keep(payload)
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
        _require_places(len(messages), detached, payloads)
        for position, payload in zip(detached, payloads, strict=True):
            _put_payload(messages[position], payload)
        return messages

    def decode_each(
        self, body: Buffer, detached: Sequence[int], payloads: Sequence[Buffer]
    ) -> list[Message | Unreadable]:
        """Decode a body message by message, where `decode` can't read all of it.

        Raises
        ------
        DecodeError
            The body is no list, or payloads and positions don't fit: nothing can be told apart.
        """
        try:
            pieces = split(body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise DecodeError(f"a body is no list of messages: {error}") from error
        _require_places(len(pieces), detached, payloads)
        beside = dict(zip(detached, payloads, strict=True))
        return [
            self._decode_single(bytes(piece), beside.get(position))
            for position, piece in enumerate(pieces)
        ]

    def _decode_single(self, piece: bytes, payload: Buffer | None) -> Message | Unreadable:
        packed = piece
        try:
            message: Message = self._single_decoder.decode(piece)
            if payload is not None:
                packed = in_one_piece(piece, payload)
                _put_payload(message, payload)
        except DecodeError as error:
            return Unreadable(packed, error)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            packed = piece if payload is None else in_one_piece(piece, payload)
            found = Unreadable(packed, DecodeError(str(error)))
            return found._replace(error=DecodeError(self._explain(found, error)))
        return message

    def _explain(self, found: Unreadable, error: Exception) -> str:
        name = found.type
        if not name:
            return f"it is no message: {error}"
        if name not in self._by_name:
            return (
                f"{name} is not a message type of this chain; name it under `messages` in [chain]"
            )
        return f"{name}.{say_mistake(error, self._by_name[name])}"


def _require_places(count: int, detached: Sequence[int], payloads: Sequence[Buffer]) -> None:
    if len(detached) != len(payloads):
        raise DecodeError(f"{len(detached)} payloads were announced, {len(payloads)} came")
    for position in detached:
        if not 0 <= position < count:
            raise DecodeError(f"a payload belongs to message {position} of {count}")


def _put_payload(event: Message, payload: Buffer) -> None:
    if not isinstance(event, Event):
        raise DecodeError(f"a payload belongs to a {type(event).__name__}, not an Event")
    view = payload if isinstance(payload, memoryview) else memoryview(payload)
    # The very same view where it can be, so that a stage that passes it on is recognised.
    view = view if view.readonly else view.toreadonly()
    msgspec.structs.force_setattr(event, "payload", view)


def freeze(payload: Buffer) -> bytes | memoryview:
    """Return a payload as bytes that nobody changes any more, copied only if need be."""
    if isinstance(payload, bytes):
        return payload
    view = memoryview(payload)
    if view.readonly and view.c_contiguous:
        return view.cast("B") if view.format != "B" or view.ndim != 1 else view
    # Whoever gave it may write into it again as soon as process() has returned.
    return view.tobytes()


def _encode_foreign(value: Any) -> Any:
    # numpy's scalars and arrays in metadata become numbers and lists; numpy isn't imported for it.
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise TypeError(f"{type(value).__name__} {value!r:.60} has no form in msgpack")
