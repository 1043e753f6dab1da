"""`key_of`: the number by which `dispatch = "key:FIELD"` chooses a replica."""

from __future__ import annotations

import zlib
from typing import Any

from arroyo.errors import EncodeError
from arroyo.messages import Message

from .error_policy import label


def key_of(message: Message, field: str) -> int:
    """Return the number that decides which replica gets a message: same value, same number.

    EncodeError: the message has no such metadata (or, for users' own types, attribute), so that it
    can't be sent.
    """
    metadata = getattr(message, "metadata", None)
    source = metadata if isinstance(metadata, dict) else _fields_of(message)
    if field not in source:
        raise EncodeError(
            f'a stage below asks for dispatch = "key:{field}", but {label(message)} has no {field}'
        )
    value = source[field]
    # A number of numpy is the same value as the one of Python that arrives in its place.
    return zlib.crc32(repr(value.tolist() if hasattr(value, "tolist") else value).encode())


def _fields_of(message: Message) -> dict[str, Any]:
    """Fields of a message by name."""
    return {name: getattr(message, name) for name in message.__struct_fields__}
