"""`backwards`: the newest lines of a log, without a look at the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .log_reader import open_log
from .logs import L, parse_line
from .rotated_file import rotated


def backwards(path: Path, kind: type[L], most_bytes: int) -> Iterator[L]:
    """Yield the lines at the end of a log, newest first; rotated files follow.

    What is no line of a log is left out, and what lies more than `most_bytes` back.
    """
    for file in rotated(path):
        if most_bytes <= 0:
            return
        data = _end_of(file, most_bytes)
        most_bytes -= len(data)
        for raw in reversed(data.split(b"\n")):
            if (line := parse_line(raw, kind)) is not None:
                yield line


def _end_of(path: Path, most_bytes: int) -> bytes:
    if (descriptor := open_log(path)) is None:
        return b""
    try:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, most_bytes, max(0, size - most_bytes))
    finally:
        os.close(descriptor)
