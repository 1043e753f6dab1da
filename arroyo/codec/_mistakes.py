"""Mistakes of messages in words: which field can't be encoded or decoded, and its value. PURE."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_PLACE = re.compile(
    r"(?P<found>.*?) - at (?:`(?P<part>key|value)` in )?`\$\[(?P<index>\d+)\].*", re.S
)
_VALUE_CHARACTERS = 60


def say_mistake(error: Exception, kind: type[Any], message: Any = None) -> str:
    """Return what is wrong with a message, with the name of the field if that is known.

    `error`: raised by msgspec on a message, which is an array of its tag and its fields.
    `kind`: class of the message.
    `message`: the message, if it could be made, to show the value of the field.
    """
    match = _PLACE.fullmatch(str(error))
    fields = kind.__struct_fields__
    index = int(match["index"]) - 1 if match else -1
    if match is None or not 0 <= index < len(fields):
        return str(error)
    field = fields[index]
    found = f"{match['found'][0].lower()}{match['found'][1:]}".replace("`", "")
    is_key = match["part"] == "key"
    if message is None:
        return f"{f'a key of {field}' if is_key else field}: {found}"
    value = getattr(message, field, None)
    wrong = [key for key in value if not isinstance(key, str)] if isinstance(value, dict) else []
    if is_key and wrong:
        return f"{field} has the key {show(wrong[0])}: {found}"
    return f"{field} is {show(value)}: {found}"


def find_unencodable(message: Any, encode: Callable[[Any], bytes]) -> str | None:
    """Return the field of a message that msgpack can't express, with its value."""
    for field in message.__struct_fields__:
        value = getattr(message, field, None)
        parts = (
            [(f"[{show(key)}]", key, each) for key, each in value.items()]
            if (isinstance(value, dict))
            else []
        )
        for place, key, each in parts:
            if not _can_encode(key, encode):
                return f"{field} has the key {show(key)}"
            if not _can_encode(each, encode):
                return f"{field}{place} is {show(each)}"
        if not parts and not _can_encode(value, encode):
            return f"{field} is {show(value)}"
    return None


def _can_encode(value: Any, encode: Callable[[Any], bytes]) -> bool:
    try:
        encode(value)
    except Exception:  # noqa: BLE001  (users' `tolist` may raise anything)
        return False
    return True


def show(value: Any) -> str:
    """Return the `repr()` of a value, cut to a length that fits into a line."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  (users' classes may raise anything)
        text = f"a {type(value).__name__} (whose repr() raises {type(error).__name__})"
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…"


def with_article(kind: type[Any]) -> str:
    """Return the name of a class with its article."""
    name = kind.__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
