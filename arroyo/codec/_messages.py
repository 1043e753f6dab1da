"""`MessageCodec`: messages as msgpack, with large payloads beside it.

A body is one msgpack array of messages, so a receiver decodes it in one call. An array is a length
and then the items, so a body can be made of messages that were encoded one by one: each is encoded
when it is handed over, so it can be refused then, and later changes of the object do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, SlabReference, Start, Stop

from ._body import Detached, Encoded, Shared, array_header, split
from ._mistakes import find_unencodable, say_mistake, with_article
from ._payloads import DETACH_BYTES, Buffer, freeze, payload_bytes, without_gaps
from ._plain import explain_array_form, is_plain
from ._unreadable import Unreadable, in_one_piece
from ._writing import make_list_writer, make_writer

_HAND_OVER = "hand over a Start, an Event or a Stop"

Keep: TypeAlias = Callable[[Buffer], SlabReference | bytes | None]
"""Puts a payload into shared memory, and returns the reference to it. Bytes: there was no room, and
this copy travels beside the body; None: the payload itself does."""


class MessageCodec:
    """Encodes and decodes the messages of one chain: Start, Event, Stop and users' own types.

    Decode from one thread at a time. `encode` may be called from any thread, `write` from one at a
    time for each body.

    Attributes
    ----------
    keep
        Called with each payload of DETACH_BYTES or more; None: these travel beside the body.
    give_back
        Called, in any thread, with encoded messages that are not sent: what `keep` did is undone.
    """

    def __init__(self, types: Sequence[type[Message]] = ()) -> None:
        self.keep: Keep | None = None
        self.give_back: Callable[[Iterable[Encoded]], None] = lambda _: None
        # `|` does not take a list of types, hence the loop.
        union: Any = Start | Event | Stop
        for extra in types:
            union = union | extra
        self._types: frozenset[type[Message]] = frozenset((Start, Event, Stop, *types))
        encoder = msgspec.msgpack.Encoder(enc_hook=_encode_foreign)
        self._encode = encoder.encode
        self._decoder = msgspec.msgpack.Decoder(list[union])
        self._decode_single: Callable[[Buffer], Message] = msgspec.msgpack.Decoder(union).decode
        # Types that have no payload, and neither open nor close a run.
        bare = frozenset(kind for kind in types if not issubclass(kind, Start | Event | Stop))
        self.write = make_writer(encoder, self._decode_single, bare)
        """Appends an ordinary message to a body; see `make_writer`."""
        self.encode_into = encoder.encode_into
        """Does that without looking at the message, for a loop that has looked itself."""
        self.write_list = make_list_writer(encoder)
        """Makes a body of ordinary events; see `make_list_writer`."""
        self._by_name = {kind.__name__: kind for kind in self._types}

    def encode(self, message: Message) -> Encoded:
        """Encode one message. Its payload is copied unless it is large and read-only.

        EncodeError: it is of no message type of this chain, or holds a value that can't be encoded,
        or that receivers could not decode. The text names the field and the value.
        """
        kind = type(message)
        if kind not in self._types:
            known = issubclass(kind, Message)
            what_to_do = "name it under `messages` in [chain]" if known else _HAND_OVER
            raise EncodeError(f"{kind.__name__} is not a message type of this chain; {what_to_do}")
        event = message if isinstance(message, Event) else None
        length = 0 if event is None else payload_bytes(event)
        try:
            if event is not None and length >= DETACH_BYTES:
                body = self._encode(msgspec.structs.replace(event, payload=b""))
            else:
                body = self._encode(message if event is None else without_gaps(event))
        except Exception as error:  # users' classes may raise anything
            where = find_unencodable(message, self._encode)
            words = str(error) if where is None else f"{where}: {error}"
            raise EncodeError(f"{with_article(kind)} can't be sent: {words}") from error
        if kind is not Event or not is_plain(event):
            self._require_decodable(message, body)
        if event is None or length < DETACH_BYTES:
            return body
        kept = None if self.keep is None else self.keep(event.payload)
        if isinstance(kept, SlabReference):
            return Shared(body, kept)
        return Detached(body, freeze(event.payload) if kept is None else kept)

    def encode_all(self, messages: Iterable[Message]) -> list[Encoded]:
        """Encode all of these messages, or none of them; errors as in `encode`."""
        items: list[Encoded] = []
        try:
            for message in messages:
                items.append(self.encode(message))
        except EncodeError:
            self.give_back(items)
            raise
        return items

    def _require_decodable(self, message: Message, body: bytes) -> None:
        """Raise if a receiver could not decode it: msgspec checks types only when it decodes."""
        kind = type(message)
        try:
            read = self._decode_single(body)
        except Exception as error:  # users' __post_init__ may raise anything
            words = say_mistake(error, kind, message)
            raise EncodeError(f"{with_article(kind)} can't be sent: {words}") from error
        mistake = explain_array_form(read.dtype, read.shape) if isinstance(read, Event) else None
        if mistake is not None:
            raise EncodeError(f"{with_article(kind)} can't be sent: {mistake}")

    def pack(self, message: Message) -> bytes:
        """Encode one message in one piece, whatever the size of its payload, to store it."""
        if isinstance(message, Event):
            message = msgspec.structs.replace(message, payload=freeze(message.payload))
        return self._encode(message)

    def unpack(self, packed: Buffer) -> Message:
        """Decode the result of `pack`.

        DecodeError: it is no message of this chain.
        """
        return self.decode(b"".join((array_header(1), packed)), (), ())[0]

    def decode(
        self, body: Buffer, detached: Sequence[int], payloads: Sequence[Buffer]
    ) -> list[Message]:
        """Decode a body. Payloads are read-only views of the given buffers.

        DecodeError: the body is no list of messages of this chain, or payloads and positions don't
        fit.
        """
        try:
            messages: list[Message] = self._decoder.decode(body)
        except Exception as error:  # users' __post_init__ may raise anything
            raise DecodeError(f"a body is no list of messages of this chain: {error}") from error
        if detached or payloads:
            _require_places(len(messages), detached, payloads)
            for position, payload in zip(detached, payloads, strict=True):
                _put_payload(messages[position], payload)
        return messages

    def decode_each(
        self, body: Buffer, detached: Sequence[int], payloads: Sequence[Buffer]
    ) -> list[Message | Unreadable]:
        """Decode a body message by message, if `decode` can't read all of it.

        DecodeError: the body is no list, or payloads and positions don't fit: it can't be split.
        """
        try:
            pieces = split(body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise DecodeError(f"a body is no list of messages: {error}") from error
        _require_places(len(pieces), detached, payloads)
        beside = dict(zip(detached, payloads, strict=True))
        return [
            self._read_single(bytes(piece), beside.get(position))
            for position, piece in enumerate(pieces)
        ]

    def _read_single(self, piece: bytes, payload: Buffer | None) -> Message | Unreadable:
        try:
            message = self._decode_single(piece)
            if payload is not None:
                _put_payload(message, payload)
        except Exception as error:  # noqa: BLE001  (users' __post_init__ may raise anything)
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
        if isinstance(error, DecodeError):
            return str(error)
        return f"{with_article(self._by_name[name])} is not as declared: " + say_mistake(
            error, self._by_name[name]
        )


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
    # The same view if possible, so that a stage that passes it on is recognised.
    view = view if view.readonly else view.toreadonly()
    msgspec.structs.force_setattr(event, "payload", view)


def _encode_foreign(value: Any) -> Any:
    # Scalars and arrays of numpy become numbers and lists; numpy need not be imported for that.
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise TypeError(f"{type(value).__name__} {value!r:.60} has no form in msgpack")
