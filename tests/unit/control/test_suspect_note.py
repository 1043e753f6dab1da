import stat

from arroyo.control.suspect_note import SuspectNote, leave_suspect, take_suspect
from arroyo.identifiers import ReplicaName

WORK, OTHER = ReplicaName("work", 0), ReplicaName("work", 1)
NOTE = SuspectNote("src.0", 7, 4712, "died of SIGSEGV", "the stack")


def note_of(run_directory):
    return run_directory.path / "status" / "work.0.suspect"


def test_the_next_life_of_a_replica_takes_its_note_and_only_once(run_directory):
    leave_suspect(run_directory, WORK, NOTE)
    assert take_suspect(run_directory, OTHER) is None
    assert take_suspect(run_directory, WORK) == NOTE
    assert take_suspect(run_directory, WORK) is None


def test_a_later_note_takes_the_place_of_an_earlier_one_and_is_private(run_directory):
    leave_suspect(run_directory, WORK, NOTE)
    later = SuspectNote("src.0", 7, 5000, "died of SIGABRT")
    leave_suspect(run_directory, WORK, later)
    assert stat.S_IMODE(note_of(run_directory).stat().st_mode) == 0o600
    assert take_suspect(run_directory, WORK) == later


def test_a_note_that_makes_no_sense_is_none_and_goes(run_directory):
    for content in (b"", b"\xff", b'{"source": 7}'):
        note_of(run_directory).write_bytes(content)
        assert take_suspect(run_directory, WORK) is None
        assert not note_of(run_directory).exists()


def test_a_draft_that_was_left_is_in_nobodys_way(run_directory):
    note_of(run_directory).with_suffix(".draft").write_bytes(b"half a no")
    leave_suspect(run_directory, WORK, NOTE)
    assert take_suspect(run_directory, WORK) == NOTE
