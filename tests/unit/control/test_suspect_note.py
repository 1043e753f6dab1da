"""What a process has died of is told to the next one, once."""

import msgspec
import pytest

from arroyo.config.run_directory import RunDirectory
from arroyo.control.suspect_note import SuspectNote, leave_suspect, take_suspect
from arroyo.durable.frames import Kind
from arroyo.identifiers import ReplicaName

NAME = ReplicaName("work", 0)
SUSPECT = SuspectNote("images.0", 7, 4711, "died of a segmentation fault (SIGSEGV)", "a stack")


@pytest.fixture
def folder(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.status_page(NAME).parent.mkdir()
    return directory


def test_a_note_is_taken_once(folder):
    leave_suspect(folder, NAME, SUSPECT)
    assert take_suspect(folder, NAME) == SUSPECT
    assert take_suspect(folder, NAME) is None


def test_a_later_note_takes_the_place_of_an_earlier_one(folder):
    leave_suspect(folder, NAME, SUSPECT)
    leave_suspect(folder, NAME, msgspec.structs.replace(SUSPECT, sequence=4712))
    assert take_suspect(folder, NAME).sequence == 4712


def test_a_note_of_a_version_before_is_read(folder):
    path = folder.status_page(NAME).with_name("work.0.suspect")
    path.write_bytes(msgspec.json.encode(SUSPECT))
    assert take_suspect(folder, NAME) == SUSPECT
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", bytes(40), Kind(b"SUSP", 2).head, b"\xff"])
def test_what_is_no_note_says_nothing(folder, content):
    folder.status_page(NAME).with_name("work.0.suspect").write_bytes(content)
    assert take_suspect(folder, NAME) is None
