"""`EventLog`: the file in which a supervisor notes what happens to its chain.

It never stops the supervisor: what can't be written, as on a full disk, is counted, and the count
is written as soon as there is room.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from arroyo.clock import Clock
from arroyo.config.event_names import EventName
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.log_tail import backwards
from arroyo.telemetry.logs import encodable
from arroyo.telemetry.rotated_file import RotatedFile

_SUPERVISOR = "supervisor"
_TAIL_BYTES = 64 * 1024


def find_unended(path: Path) -> EventLine | None:
    """Return the last event of the life that wrote last, if that has not said how it ended.

    None: it has, or nothing is known of one.
    """
    last = None
    for event in backwards(path, EventLine, _TAIL_BYTES):
        last = last or event
        if event.pid != last.pid or event.event == "chain-started":
            break
        if event.event == "chain-ended":
            return None
    return last


class EventLog:
    """Writes `EventLine`s to a `RotatedFile`.

    `pass_on`: takes each event, and its JSON.
    """

    def __init__(
        self,
        path: Path,
        chain: str,
        clock: Clock,
        pass_on: Callable[[EventLine, bytes], None] = lambda *_: None,
    ) -> None:
        self._file = RotatedFile(path)
        self._pass_on = pass_on
        self._chain = chain
        self._clock = clock
        self._lost = 0
        """Events not written since the last one that was."""

    def note(
        self,
        event: EventName,
        message: str,
        *,
        level: str = "INFO",
        stage: str = _SUPERVISOR,
        **facts: Any,
    ) -> None:
        """Write an event, or count it as lost.

        `facts`: further fields of `EventLine`.
        """
        told = b""
        if self._lost:
            text = f"{self._lost} events before this one could not be written"
            told = _encode(self._line("events-lost", text, "WARNING", _SUPERVISOR, {}))
        line = self._line(event, message, level, stage, facts)
        encoded = _encode(line)
        self._lost = 0 if self._file.write(told + encoded) else self._lost + 1
        self._pass_on(line, encoded)

    def _line(
        self, event: EventName, message: str, level: str, stage: str, facts: dict[str, Any]
    ) -> EventLine:
        return EventLine(
            time=datetime.fromtimestamp(self._clock.wall(), UTC),
            level=level,
            logger=__name__,
            chain=self._chain,
            stage=stage,
            pid=os.getpid(),
            message=encodable(message),
            event=event,
            monotonic_s=round(self._clock.monotonic(), 6),
            **facts,
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _encode(line: EventLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"
