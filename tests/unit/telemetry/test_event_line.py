from datetime import UTC, datetime

import msgspec

from arroyo.telemetry.event_line import EventLine, ExitReport

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
LINE = EventLine(
    *(NOON, "INFO", "arroyo", "powder", "supervisor", 7, "all ready after 1.00 s"),
    event="chain-ready",
    monotonic_s=12.5,
)


def test_fields_that_do_not_apply_are_left_out():
    assert set(msgspec.json.decode(msgspec.json.encode(LINE))) == {
        *("time", "level", "logger", "chain", "stage", "pid", "message", "event", "monotonic_s"),
    }


def test_the_end_of_a_process_is_told_within_its_line():
    line = msgspec.structs.replace(LINE, exit=ExitReport(1.5, signal="SIGSEGV"))
    encoded = msgspec.json.encode(line)
    assert msgspec.json.decode(encoded)["exit"] == {"after_s": 1.5, "signal": "SIGSEGV"}
    assert msgspec.json.decode(encoded, type=EventLine) == line
