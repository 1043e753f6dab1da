"""The history of a process that fails: readable, in a private file beside its log."""

import os
import stat

import msgspec
import pytest

from arroyo.control.history_file import history_file, history_text, leave_history
from arroyo.protocol.values.history import History


class Clock:
    """A machine that was started an hour before 2026-03-14 15:09:26.5 UTC."""

    def monotonic(self):
        return 3600.0

    def wall(self):
        return 1773500966.5


@pytest.fixture
def log(tmp_path):
    return tmp_path / "take.0.jsonl"


def test_it_is_beside_the_log(log):
    assert history_file(log).name == "take.0.history.txt"


def test_it_has_a_heading_and_the_time_of_day_of_each_transition():
    history = History(3597.25)
    history.note("took batch {} from {}", 17, "take.0")
    history.now = 3600.0
    history.note("finished it")
    assert history_text("work.0", history, Clock()) == (
        f"work.0 (pid {os.getpid()}) at 2026-03-14T15:09:26Z: "
        "its last 2 transitions, times in UTC\n"
        "15:09:23.750000  took batch 17 from take.0\n"
        "15:09:26.500000  finished it\n"
    )


def test_whatever_the_values_hold_it_can_be_written_and_sent():
    history = History()
    history.note("the folder {} was removed", "/data/\udcfcber")
    history.note("said {}", "ä" * 10_000)
    text = history_text("supervisor", history)
    assert "/data/\\udcfcber" in text
    assert len(text) < 1000
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


def test_the_file_is_private_and_replaces_the_one_before(log):
    assert leave_history(log, "first\n") == history_file(log)
    assert leave_history(log, "second\n") == history_file(log)
    assert history_file(log).read_text() == "second\n"
    assert stat.S_IMODE(history_file(log).stat().st_mode) == 0o600
    assert [path.name for path in log.parent.iterdir()] == ["take.0.history.txt"]


def test_where_no_file_can_be_written_there_is_none(log):
    assert leave_history(log.parent / "missing" / log.name, "first\n") is None
