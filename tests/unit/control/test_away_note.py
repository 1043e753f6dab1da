import pytest

from arroyo.config.run_directory import RunDirectory
from arroyo.control.away_note import read_away, write_away
from arroyo.identifiers import ReplicaName

NAMES = [ReplicaName("work", 1), ReplicaName("live", 0)]


def test_what_is_noted_last_is_read(run_directory):
    assert read_away(run_directory) == []
    assert write_away(run_directory, NAMES)
    assert read_away(run_directory) == NAMES
    assert write_away(run_directory, [])
    assert read_away(run_directory) == []


def test_a_note_that_can_not_be_written_harms_nobody(tmp_path):
    assert not write_away(RunDirectory(tmp_path / "gone"), NAMES)


@pytest.mark.parametrize("content", [b"work", b"\xff", b"work.0 \x00"])
def test_a_note_that_makes_no_sense_names_nobody(run_directory, content):
    (run_directory.path / "away").write_bytes(content)
    assert read_away(run_directory) == []
