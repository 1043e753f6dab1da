from datetime import UTC, datetime

import pytest

from arroyo.cli.output.log_lines import Layout, in_order
from arroyo.telemetry.logs import LogLine


def line(second, message, stage="work.0"):
    time = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    return LogLine(time, "INFO", "test", "saxs", stage, 1, message)


def test_lines_of_several_logs_are_put_in_order():
    logs = {"a": [line(1, "first"), line(3, "third")], "b": [line(2, "second")]}
    found = in_order(lambda: logs, follow=False)
    assert [each.message for each in found] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("message", "rows"),
    [
        ("plain", ["work.0    2026-01-01 00:00:01.000  INFO     plain"]),
        ("a\x1b[2Jb", ["work.0    2026-01-01 00:00:01.000  INFO     a\\x1b[2Jb"]),
        (
            "two\r\nrows\n",
            ["work.0    2026-01-01 00:00:01.000  INFO     two", "work.0      rows"],
        ),
    ],
)
def test_a_line_stands_under_its_label_and_can_not_steer_the_terminal(monkeypatch, message, rows):
    monkeypatch.setenv("TZ", "UTC")
    layout = Layout(["work.0"], ["work.0", "images.0"])
    assert layout.text("work.0", line(1, message)).splitlines() == rows
