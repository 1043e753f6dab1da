"""`make_writer`: the way of nearly all messages into the body that they travel in. PURE.

It is gone once or twice per message and stage, so it is one function without calls: what a
receiver could not decode is told without decoding it, where that can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from arroyo.messages import Event, Message

from ._body import Body
from ._payloads import DETACH_BYTES
from ._plain import is_array_form

Write: TypeAlias = Callable[[Message, Body], bool]

_NO_DTYPE, _NO_SHAPE = "", ()


def make_writer(  # noqa: C901  (it is one function on purpose)
    encoder: msgspec.msgpack.Encoder,
    decode: Callable[[bytes], Any] | None,
    bare: frozenset[type[Message]],
) -> Write:
    """Return what appends a message to a body, and returns False where nothing was written.

    That is so for what is neither an Event nor of a bare type, is too large, can't be encoded or
    could not be decoded: `MessageCodec.encode` knows what to do with it, or says what is wrong.

    Parameters
    ----------
    encoder, decode
        Of one message. Without `decode` nothing is asked but whether it can be encoded.
    bare
        Users' types that have no payload, and don't begin or end a run.
    """
    encode, encode_into = encoder.encode, encoder.encode_into
    checks = decode is not None

    def write(message: Any, body: Body) -> bool:  # noqa: C901, PLR0911, PLR0912
        kind = type(message)
        buffer = body.buffer
        end = len(buffer)
        try:
            if kind is Event:
                payload = message.payload
                if type(payload) is bytes:
                    if len(payload) >= DETACH_BYTES:
                        return False
                elif type(payload) is not memoryview or payload.nbytes >= DETACH_BYTES:
                    return False
                if checks:
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
            elif kind not in bare:
                return False
            elif decode is None:
                encode_into(message, buffer, -1)
            else:
                item = encode(message)
                decode(item)  # msgspec looks at the types of fields only there
                buffer += item
        except Exception:  # noqa: BLE001  (users' classes may raise anything)
            del buffer[end:]
            return False
        except BaseException:
            del buffer[end:]
            raise
        body.length += 1
        return True

    return write
