import contextlib
import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from arroyo.telemetry.log_reader import CHUNK_BYTES, LogReader
from arroyo.telemetry.logs import LogLine
from arroyo.telemetry.rotated_file import FILES, RotatedFile

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "work.0.jsonl"


@pytest.fixture
def reader(path):
    with contextlib.closing(LogReader(path, LogLine)) as reader:
        yield reader


@pytest.fixture
def write(path):
    """Write a record; every third one rotates the log."""
    with contextlib.closing(RotatedFile(path, file_bytes=3 * len(encoded(0, "0000")))) as file:

        def write(*numbers):
            for number in numbers:
                assert file.write(encoded(0, f"{number:04}"))

        yield write


def numbers(reader):
    return [int(line.message) for line in reader.read()]


def encoded(second, message="x"):
    time = BEGIN + timedelta(seconds=second)
    line = LogLine(time, "INFO", "test", "chain", "work.0", 1, message)
    return msgspec.json.encode(line) + b"\n"


def test_rotated_files_are_read_first_the_oldest_before_all(reader, write, path):
    write(*range(8))
    assert path.with_name("work.0.jsonl.2").exists()
    assert numbers(reader) == list(range(8))


@pytest.mark.parametrize("at_once", range(1, 3 * (FILES - 1) + 1))
def test_no_line_is_lost_or_doubled_while_the_log_is_rotated(reader, write, at_once):
    found = []
    for first in range(0, 60, at_once):
        write(*range(first, first + at_once))
        found += numbers(reader)
    assert found == list(range(len(found)))
    assert len(found) >= 60


def test_a_reader_that_was_held_up_finds_the_rotated_files_again(reader, write):
    write(0, 1)
    lines = reader.read()
    assert next(lines).message == "0000"
    write(*range(2, 8))  # the first file is the oldest now
    assert [int(line.message) for line in lines] == [1, 2]
    assert numbers(reader) == list(range(3, 8))


def test_lines_that_rotation_has_removed_are_left_out_of_the_order_of_the_rest(reader, write):
    write(0, 1)
    assert numbers(reader) == [0, 1]
    write(*range(2, 20))
    assert numbers(reader) == [2, *range(12, 20)]  # the open file, and the last three


def test_a_log_that_appears_later_is_read(reader, write):
    assert numbers(reader) == []
    write(1)
    assert numbers(reader) == [1]
    assert numbers(reader) == []


def test_half_a_line_waits_for_its_other_half(reader, path):
    whole = encoded(0, "whole")
    path.write_bytes(whole[:20])
    assert list(reader.read()) == []
    path.write_bytes(whole)
    assert [line.message for line in reader.read()] == ["whole"]


def test_a_log_that_was_emptied_is_read_from_its_beginning(reader, path):
    path.write_bytes(encoded(0) * 3)
    assert len(list(reader.read())) == 3
    path.write_bytes(encoded(1, "new"))
    assert [line.message for line in reader.read()] == ["new"]


def test_a_line_longer_than_a_chunk_is_read(reader, path):
    long = "x" * (3 * CHUNK_BYTES)
    path.write_bytes(encoded(0, long) + encoded(1, "short"))
    assert [line.message for line in reader.read()] == [long, "short"]


def test_what_is_no_line_of_a_log_is_shown_in_its_place(reader, path):
    path.write_bytes(encoded(7) + b'{"time": \xff\n' + encoded(8))
    first, odd, last = reader.read()
    assert (first.time, odd.time) == (BEGIN + timedelta(seconds=7),) * 2
    assert (odd.stage, odd.message) == ("work.0", '{"time": \\xff')
    assert last.time > odd.time


def test_older_lines_are_left_out(path):
    path.write_bytes(b"".join(map(encoded, range(10))))
    with contextlib.closing(LogReader(path, LogLine, BEGIN + timedelta(seconds=7))) as reader:
        assert [line.time.second for line in reader.read()] == [7, 8, 9]


def test_a_pipe_in_place_of_a_log_is_left_alone(reader, path):
    os.mkfifo(path)
    assert list(reader.read()) == []


def test_a_closed_reader_keeps_no_file_open(path, write):
    before = len(os.listdir("/proc/self/fd"))
    reader = LogReader(path, LogLine)
    write(*range(8))
    next(reader.read())
    reader.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # that of the writer
