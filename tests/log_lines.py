"""Lines of a log as a process writes them."""

from datetime import UTC, datetime

import msgspec

from arroyo.telemetry.logs import LogLine


def log_line(level, message, pid=7):
    line = LogLine(datetime.now(UTC), level, "own", "chain", "work.0", pid, message)
    return msgspec.json.encode(line) + b"\n"
