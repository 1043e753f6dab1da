"""`FollowedFields`: which parameters are to be set, by what a hash of Redis says. PURE.

A field is named ``STAGE.PARAMETER``; its value is written as for `arroyo set`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from arroyo.config.parameters import parse_value

Fields = Mapping[bytes, bytes]


class Wanted(NamedTuple):
    """Parameters of one stage that are to be set."""

    stage: str
    texts: dict[str, str]

    @property
    def values(self) -> dict[str, Any]:
        """The values that the texts mean."""
        return {name: parse_value(text) for name, text in self.texts.items()}


class FollowedFields:
    """Compares what a hash says with what has been set.

    What was refused is not tried again until something of its stage is different. Then all that is
    not set yet is tried, so that a mistake that is corrected holds up nothing for good.
    """

    def __init__(self) -> None:
        self._set: dict[tuple[str, str], str] = {}
        self._refused: dict[str, Wanted] = {}

    def wanted(self, fields: Fields) -> list[Wanted]:
        """Return what is to be set, once for each stage. A field that is gone changes nothing."""
        found: dict[str, Wanted] = {}
        for field, value in fields.items():
            stage, _, name = _decode(field).partition(".")
            text = _decode(value)
            if self._set.get((stage, name)) != text:
                found.setdefault(stage, Wanted(stage, {})).texts[name] = text
        return [each for each in found.values() if self._refused.get(each.stage) != each]

    def note_set(self, wanted: Wanted) -> None:
        """Note that this has been set."""
        self._set |= {(wanted.stage, name): text for name, text in wanted.texts.items()}
        self._refused.pop(wanted.stage, None)

    def note_refusal(self, wanted: Wanted) -> None:
        """Note that this was refused."""
        self._refused[wanted.stage] = wanted


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
