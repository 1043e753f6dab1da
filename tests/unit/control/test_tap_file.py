"""The file by which a command gets messages from a stage: both ends, in one process."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from arroyo.control.tap_file import Sample, TapFile, TappedFile
from arroyo.errors import AlreadyRunningError

SAMPLE = Sample(b"header", b"message", b"payload", 7)
LOOK = """
import sys
from pathlib import Path
from arroyo.control.tap_file import TapFile
tap = TapFile(Path(sys.argv[1]))
tap.ask()
print("asked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "integrate.0"


@pytest.fixture
def tap(path):
    tap = TapFile(path)
    yield tap
    tap.close()


@pytest.fixture
def tapped(tap, path):
    tap.ask()
    # Closing it would end the lock, which both ends have in this one process.
    return TappedFile.find(path)


def test_what_is_given_is_taken(tap, tapped):
    assert tapped.wanted == 1
    assert tap.take() is None
    tapped.give(1, SAMPLE)
    assert tap.take() == SAMPLE
    assert not tap.waits


def test_nothing_is_given_before_it_is_asked_for_again(tap, tapped):
    tapped.give(1, SAMPLE)
    assert tapped.wanted == 0
    tap.take()
    tap.ask()
    assert tapped.wanted == 2
    assert tap.waits
    assert tap.take() is None


def test_a_new_process_of_the_stage_goes_on_where_the_last_one_was(tap, tapped, path):
    tapped.give(1, SAMPLE)
    successor = TappedFile.find(path)
    assert successor.wanted == 0
    tap.take()
    tap.ask()
    successor.give(2, SAMPLE)
    assert tap.take() == SAMPLE


def test_there_is_nothing_while_nobody_looks(path):
    assert TappedFile.find(path) is None
    TapFile(path).close()
    assert TappedFile.find(path) is None
    assert not path.exists()


def test_the_file_is_private(tap, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_command_is_told_of_the_first(tap, path):
    with pytest.raises(AlreadyRunningError, match=rf"pid {os.getpid()}\) looks at integrate\.0"):
        TapFile(path)


def test_what_is_no_plain_file_is_left_alone(tmp_path, path):
    (tmp_path / "other").write_bytes(b"12345678" * 2)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        TappedFile.find(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        TappedFile.find(path)


def test_a_command_that_was_killed_looks_no_more_and_its_memory_is_freed(path):
    command = [sys.executable, "-c", LOOK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as looking:
        assert looking.stdout.readline() == b"asked\n"
        tapped = TappedFile.find(path)
        assert tapped.is_held
        tapped.give(tapped.wanted, SAMPLE)
        looking.kill()
        looking.wait()
    assert not tapped.is_held
    tapped.clear()
    tapped.close()
    assert path.stat().st_size == 0
    assert TappedFile.find(path) is None


def test_a_file_that_was_made_anew_is_not_taken_for_the_old_one(tap, tapped, path):
    assert tapped.is_held
    path.unlink()
    path.write_bytes(b"")
    assert not tapped.is_held


def test_a_file_that_a_stage_has_cleared_is_asked_again(tap, tapped, path):
    tapped.clear()
    assert tap.take() is None
    tapped = TappedFile.find(path)
    tapped.give(tapped.wanted, SAMPLE)
    assert tap.take() == SAMPLE


def test_without_room_for_the_payload_the_rest_is_given(tap, tapped, monkeypatch):
    write = os.pwritev

    def full(descriptor, pieces, at):
        room = [piece for piece in pieces if piece != b"payload"]
        return write(descriptor, room, at)

    monkeypatch.setattr(os, "pwritev", full)
    tapped.give(1, SAMPLE)
    assert tap.take() == SAMPLE._replace(payload=b"")


def test_without_any_room_it_says_so(tap, tapped, monkeypatch):
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(OSError) as caught:
        tapped.give(1, SAMPLE)
    assert caught.value.errno == errno.ENOSPC
    assert tap.take() is None
