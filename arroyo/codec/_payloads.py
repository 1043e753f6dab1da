"""Payloads of Events, as bytes that can be sent. PURE."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from arroyo.errors import EncodeError
from arroyo.messages import Event

from ._mistakes import show, with_article

Buffer: TypeAlias = bytes | bytearray | memoryview

DETACH_BYTES = 16 * 1024
"""Payloads from this size on are frames of their own, which saves a copy on either side."""

PAYLOAD_BYTES_MAX = (1 << 32) - 1
"""Limit of frames, and of msgpack."""


def payload_bytes(event: Event) -> int:
    """Return the size of a payload.

    EncodeError: it has no buffer, or is too large.
    """
    payload = event.payload
    try:
        length = len(payload) if type(payload) is bytes else memoryview(payload).nbytes
    except (TypeError, ValueError, BufferError) as error:
        raise EncodeError(
            f"{with_article(type(event))} can't be sent: payload is {show(payload)}, a "
            f"{type(payload).__name__}: expected bytes, or an object with a buffer"
        ) from error
    if length > PAYLOAD_BYTES_MAX:
        raise EncodeError(
            f"{with_article(type(event))} can't be sent: payload has {length} bytes, expected "
            "less than 4 GiB; send it in parts"
        )
    return length


def without_gaps(event: Event) -> Event:
    """Return an event whose payload is encoded as its bytes; the same event if it is already."""
    payload: object = event.payload
    if isinstance(payload, bytes | bytearray):
        return event
    if isinstance(payload, memoryview) and payload.c_contiguous:
        return event
    # An array, of numpy or not, would be encoded as a list.
    return msgspec.structs.replace(event, payload=memoryview(event.payload).tobytes())


def freeze(payload: Buffer) -> bytes | memoryview:
    """Return a payload as bytes that will not change, copied only if necessary."""
    if isinstance(payload, bytes):
        return payload
    view = memoryview(payload)
    if view.readonly and view.c_contiguous:
        return view.cast("B") if view.format != "B" or view.ndim != 1 else view
    # The caller may write into it again as soon as process() has returned.
    return view.tobytes()
