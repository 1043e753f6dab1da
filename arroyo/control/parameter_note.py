"""The supervisor's note of what people have set in a stage: ``parameters/STAGE``.

The supervisor alone writes it, in the run directory; each process of the stage looks at it. Where
there is none, the values are those of the chain file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from arroyo.durable.replaced_file import read_file, replace_file


class ParameterNote(msgspec.Struct, frozen=True):
    """Parameters whose values are not to be those of the chain file."""

    number: int
    """Of this order; a process reports it when it has taken `values`."""
    values: dict[str, Any]
    """What is wanted."""
    settled: dict[str, Any]
    """What a process begins with: all processes have taken it before."""


def write_parameters(path: Path, note: ParameterNote) -> None:
    """Replace the note.

    OSError: it can't be written.
    """
    replace_file(path, msgspec.json.encode(note), sync=False)


def read_parameters(path: Path) -> ParameterNote | None:
    """Return the note; None where there is none, or it can't be read."""
    try:
        content = read_file(path)
        return None if content is None else msgspec.json.decode(content, type=ParameterNote)
    except (OSError, msgspec.DecodeError):
        return None
