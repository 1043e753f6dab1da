import contextlib
import os

import msgspec
import pytest
from small_disk import small_files

from arroyo.supervision.reporting.event_log import EventLog, find_unended
from arroyo.telemetry.event_line import EventLine


class Clock:
    def monotonic(self):
        return 12.5

    def wall(self):
        return 1_000_000.25


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def log(path):
    with contextlib.closing(EventLog(path, "powder", Clock())) as made:
        yield made


def lines(path):
    return [msgspec.json.decode(line, type=EventLine) for line in path.read_bytes().splitlines()]


def test_an_event_has_both_times_and_says_whose_it_is(log, path):
    log.note("started", "work.0 started as pid 7", stage="work.0", process=7)
    (line,) = lines(path)
    assert (line.time.timestamp(), line.monotonic_s) == (1_000_000.25, 12.5)
    assert (line.chain, line.stage, line.event, line.level) == (
        *("powder", "work.0", "started", "INFO"),
    )
    assert (line.pid, line.process) == (os.getpid(), 7)


def test_each_event_is_passed_on_with_its_json(path):
    passed = []
    log = EventLog(path, "powder", Clock(), lambda *each: passed.append(each))
    log.note("failed", "work.0 FAILED", level="ERROR", stage="work.0")
    log.close()
    ((line, encoded),) = passed
    assert (line.event, line.level) == ("failed", "ERROR")
    assert encoded == path.read_bytes()


def test_odd_bytes_of_a_path_are_escaped(log, path):
    log.note("failed", "no file scan\udcff.tif")
    assert lines(path)[0].message == "no file scan\\udcff.tif"


def test_a_full_disk_raises_nothing_and_is_told_afterwards(log, path):
    log.note("chain-started", "first")
    with small_files(path.stat().st_size + 30):
        log.note("ready", "torn")
        log.note("ready", "lost")
    log.note("ready", "after")
    first, gap, after = lines(path)
    assert (gap.event, gap.message) == (
        "events-lost",
        "2 events before this one could not be written",
    )
    assert (first.message, after.message) == ("first", "after")


@pytest.mark.parametrize("torn", [b'{"time": ', b"\xff\n", b'{"message": "\xff"}\n'])
def test_what_a_death_leaves_of_a_line_is_no_word_of_how_the_chain_ended(log, path, torn):
    log.note("chain-started", "chain powder")
    with path.open("ab") as file:
        file.write(torn)
    assert find_unended(path).event == "chain-started"


def test_the_last_word_is_found_though_the_log_was_rotated_behind_it(log, path):
    log.note("chain-started", "chain powder")
    path.rename(f"{path}.1")
    assert find_unended(path).event == "chain-started"
    log.note("chain-ended", "chain powder ended well", exit_code=0)
    assert find_unended(path) is None
