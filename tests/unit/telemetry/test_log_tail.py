import msgspec
import pytest
from log_lines import log_line

from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.log_tail import backwards
from arroyo.telemetry.logs import LogLine

MOST = 1 << 20


@pytest.fixture
def log(tmp_path):
    return tmp_path / "work.0.jsonl"


def messages(log, most_bytes=MOST):
    return [line.message for line in backwards(log, LogLine, most_bytes)]


def test_lines_come_newest_first_and_rotated_files_follow(log):
    log.write_bytes(log_line("INFO", "fourth") + log_line("INFO", "fifth"))
    log.with_name(f"{log.name}.1").write_bytes(log_line("INFO", "third"))
    log.with_name(f"{log.name}.2").write_bytes(
        log_line("INFO", "first") + log_line("INFO", "second")
    )
    assert messages(log) == ["fifth", "fourth", "third", "second", "first"]


def test_a_log_that_is_not_there_has_no_lines(log):
    assert messages(log) == []


def test_what_lies_too_far_back_is_not_read(log):
    line = log_line("INFO", "a")
    log.write_bytes(b"".join(log_line("INFO", letter) for letter in "abcd"))
    log.with_name(f"{log.name}.1").write_bytes(line)
    assert messages(log, int(2.5 * len(line))) == ["d", "c"]


def test_what_is_no_line_and_one_that_is_being_written_are_left_out(log):
    line = log_line("INFO", "whole")
    log.write_bytes(b"\xff\xfe no line\n" + line + line[:-9])
    assert messages(log) == ["whole"]


def test_events_come_with_their_fields(log):
    fields = {"time": "2026-11-26T05:00:00", "level": "INFO", "logger": "a", "chain": "a"}
    fields |= {"stage": "work.0", "pid": 1, "message": "ready", "event": "ready"}
    log.write_bytes(msgspec.json.encode(fields) + b"\n")
    (line,) = backwards(log, EventLine, MOST)
    assert line.event == "ready"
    assert line.time.tzinfo is not None


def test_a_link_is_not_followed(log, tmp_path):
    (tmp_path / "secret").write_bytes(log_line("INFO", "secret"))
    log.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        messages(log)
