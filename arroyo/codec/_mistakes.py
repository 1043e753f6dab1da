"""Says in words why a message can't be encoded or decoded: which field, and what is in it. PURE."""

from __future__ import annotations

import re
from typing import Any

_PLACE = re.compile(
    r"(?P<found>.*?) - at (?:`(?P<part>key|value)` in )?`\$\[(?P<index>\d+)\].*", re.S
)
_VALUE_CHARACTERS = 60


def say_mistake(error: Exception, kind: type[Any] | None, message: Any = None) -> str:
    """Return what msgspec found wrong with one message, by the name of the field.

    Parameters
    ----------
    error
        What msgspec raised on a message that is an array: its tag, then its fields.
    kind
        Class of the message; None where the chain has no such class.
    message
        The message, if it is there, to show what is in the field.
    """
    match = _PLACE.fullmatch(str(error))
    fields = () if kind is None else kind.__struct_fields__
    index = int(match["index"]) - 1 if match else -1
    if match is None or not 0 <= index < len(fields):
        return str(error)
    field = fields[index]
    where = f"a key of {field}" if match["part"] == "key" else field
    found = f"{match['found'][0].lower()}{match['found'][1:]}".replace("`", "")
    if message is None:
        return f"{where}: {found}"
    return f"{where} is {show(getattr(message, field, None))}: {found}"


def show(value: Any) -> str:
    """Return a value as Python writes it, cut to what a line of a log can take."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  (users' classes may raise anything)
        text = f"a {type(value).__name__} (whose repr() raises {type(error).__name__})"
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…"
