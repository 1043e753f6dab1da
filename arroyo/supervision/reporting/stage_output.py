"""`StageOutput`: output and warnings of a stage, for the supervisor's console.

Stages write to files only, which never block; the supervisor follows these as far as its console
keeps up. What it leaves out is still in the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from arroyo.telemetry.followed_file import FollowedFile
from arroyo.telemetry.logs import LogLine, parse_line
from arroyo.telemetry.output import output_file

LOOK_BYTES = 32 * 1024
"""How much of a file is read at once."""
BEHIND_BYTES = 1024 * 1024
ERROR_HOLDS_S = 1.0
"""An error may be the reason why its process ends, which is told then; so it is held back."""


class StageOutput:
    """Follows the log and the output of one replica, from its end on and over restarts."""

    def __init__(self, log: Path) -> None:
        self._log = FollowedFile(log, from_end=True, behind_bytes=BEHIND_BYTES)
        self._output = FollowedFile(output_file(log), from_end=True, behind_bytes=BEHIND_BYTES)
        self._errors: list[tuple[float, str]] = []

    def new_lines(self, now: float) -> list[str]:
        """Return what is new: printed lines, and warnings as ``LEVEL text``."""
        return [*self._read_output(), *self._warnings(now), *self._held_errors(now)]

    def last_lines(self, said: str) -> list[str]:
        """Return the rest when the process has ended, without `said`, which is told elsewhere."""
        lines = [*self._read_output(final=True), *self._warnings(0.0)]
        errors = [text for _, text in self._errors if text != f"ERROR {said}"]
        self._errors.clear()
        return lines + errors

    def _read_output(self, *, final: bool = False) -> Iterator[str]:
        for line in self._output.lines(LOOK_BYTES, final=final):
            yield from self._skipped()
            yield line.decode(errors="backslashreplace")
        yield from self._skipped()

    def _skipped(self) -> Iterator[str]:
        if skipped := self._output.skipped_bytes:
            self._output.skipped_bytes = 0
            yield f"({skipped} bytes of output left out)"

    def _warnings(self, now: float) -> Iterator[str]:
        for line in self._log.lines(LOOK_BYTES):
            if (record := parse_line(line, LogLine)) is None:
                continue
            text = f"{record.level} {'; '.join(record.message.splitlines())}"
            if record.level == "WARNING":
                yield text
            elif record.level in {"ERROR", "CRITICAL"}:
                self._errors.append((now, text))

    def _held_errors(self, now: float) -> Iterator[str]:
        while self._errors and now - self._errors[0][0] >= ERROR_HOLDS_S:
            yield self._errors.pop(0)[1]

    def close(self) -> None:
        """Close the files."""
        self._log.close()
        self._output.close()
