"""What stages print and warn of, for the supervisor's console.

Stages write files only, which never hold them up; the supervisor reads along as far as its own
console keeps up. What it leaves out is in those files all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from arroyo.telemetry.followed_file import FollowedFile
from arroyo.telemetry.output import output_file

LOOK_BYTES = 32 * 1024
"""So much of a file is read at a look."""
BEHIND_BYTES = 1024 * 1024
ERROR_HOLDS_S = 1.0
"""An error may be why its process ends, which is told with the end; so it waits for that."""


class _Record(msgspec.Struct):
    level: str
    message: str


class Overheard:
    """Follows the log and the output of one replica, from its end on and over restarts.

    Parameters
    ----------
    log
        The replica's log.
    """

    def __init__(self, log: Path) -> None:
        self._log = FollowedFile(log, from_end=True, behind_bytes=BEHIND_BYTES)
        self._output = FollowedFile(output_file(log), from_end=True, behind_bytes=BEHIND_BYTES)
        self._errors: list[tuple[float, str]] = []

    def look(self, now: float) -> list[str]:
        """Return what has come: warnings as ``LEVEL text``, and what was printed."""
        return [*self._read_output(), *self._warnings(now), *self._held_errors(now)]

    def last_look(self, said: str) -> list[str]:
        """Return what is left when the process has ended; `said` is told elsewhere."""
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
            try:
                record = msgspec.json.decode(line, type=_Record)
            except (msgspec.DecodeError, UnicodeDecodeError):
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
