"""`make_writer`: encodes ordinary messages into the body that they travel in. PURE.

This is done once or twice per message and stage, so it is one function without calls of others. It
checks without decoding whether a receiver can decode the message, where that is possible.
`make_list_writer` does the same for many messages in one call of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.messages import Event, Message

from ._body import HEAD_BYTES, Body, array_header
from ._payloads import DETACH_BYTES
from ._plain import is_array_form

Write: TypeAlias = Callable[[Message, Body, int], bool]


_NO_DTYPE, _NO_SHAPE = "", ()


def make_writer(  # noqa: C901  (it is one function on purpose)
    encoder: msgspec.msgpack.Encoder,
    decode: Callable[[bytes], Any],
    bare: frozenset[type[Message]],
) -> Write:
    """Return a function that appends a message to a body; it returns False if it wrote nothing.

    It writes no message that is neither an Event nor of a bare type, is too large, can't be
    encoded, or could not be decoded: `MessageCodec.encode` handles these, or says what is wrong.
    The last argument is the length of the body's buffer, which callers know anyway.

    Parameters
    ----------
    encoder, decode
        Encoder, and function that decodes one message.
    bare
        Users' types that have no payload, and neither open nor close a run.
    """
    encode, encode_into = encoder.encode, encoder.encode_into

    def write(message: Any, body: Body, end: int) -> bool:  # noqa: C901, PLR0911
        buffer = body.buffer
        try:
            if type(message) is Event:
                payload = message.payload
                if type(payload) is memoryview:
                    if payload.nbytes >= DETACH_BYTES:
                        return False
                elif type(payload) is not bytes or len(payload) >= DETACH_BYTES:
                    return False
                # The same as `is_plain`, without calling it.
                metadata = message.metadata
                if type(metadata) is not dict:
                    return False
                for key in metadata:
                    if type(key) is not str:
                        return False
                if (
                    message.dtype is not _NO_DTYPE or message.shape is not _NO_SHAPE
                ) and not is_array_form(message.dtype, message.shape):
                    return False
                encode_into(message, buffer, -1)
            elif type(message) in bare:
                item = encode(message)
                decode(item)  # msgspec checks the types of fields only here
                buffer += item
            else:
                return False
        except Exception:  # noqa: BLE001  (users' classes may raise anything)
            del buffer[end:]
            return False
        except BaseException:  # a signal, say: the body stays whole
            del buffer[end:]
            raise
        body.length += 1
        return True

    return write


def make_list_writer(encoder: msgspec.msgpack.Encoder) -> Callable[[Sequence[Any]], Body | None]:
    """Return a function that makes a body of Events; None if any is not an ordinary one.

    It takes the messages that `write` does, but for bare types, and takes half of the time.
    """
    encode_into = encoder.encode_into

    def write_list(events: Sequence[Any]) -> Body | None:
        if not _are_ordinary(events):
            return None
        body, count = Body(), len(events)
        try:
            # So that the messages begin where they always do, behind the room for the head.
            encode_into(list(events), body.buffer, HEAD_BYTES - len(array_header(count)))
        except Exception:  # noqa: BLE001  (users' classes may raise anything)
            return None
        body.length = count
        return body

    return write_list


def _are_ordinary(events: Sequence[Event]) -> bool:
    """Return True if all are small, and a receiver can decode them.

    The same as `write` finds of each. One function for both would cost either a tenth of its time.
    """
    for event in events:
        payload = event.payload
        if type(payload) is memoryview:
            if payload.nbytes >= DETACH_BYTES:
                return False
        elif type(payload) is not bytes or len(payload) >= DETACH_BYTES:
            return False
        metadata = event.metadata
        if type(metadata) is not dict:
            return False
        for key in metadata:
            if type(key) is not str:
                return False
        if (event.dtype is not _NO_DTYPE or event.shape is not _NO_SHAPE) and not is_array_form(
            event.dtype, event.shape
        ):
            return False
    return True
