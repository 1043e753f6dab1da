"""What a consumer of a broker knows of its life before."""

import pytest

from arroyo import UnavailableError
from arroyo.connectors._consumer_memory import ConsumerMemory


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "take.0"
    made.mkdir()
    return made


def test_a_consumer_keeps_its_name(folder):
    name = ConsumerMemory(folder).name
    assert name.startswith("take.0-")
    assert ConsumerMemory(folder).name == name


def test_a_consumer_without_a_next_life_has_a_name_of_its_own():
    assert ConsumerMemory(None).name != ConsumerMemory(None).name


def test_what_could_not_be_acknowledged_is_known_to_the_next_life(folder):
    ConsumerMemory(folder).note_owed(["1-0", "2-0"])
    memory = ConsumerMemory(folder)
    memory.note_owed(["3-0"])
    memory = ConsumerMemory(folder)
    assert memory.owed == ["1-0", "2-0", "3-0"]
    memory.forget_owed()
    assert ConsumerMemory(folder).owed == []


def test_a_line_that_was_cut_off_does_not_count(folder):
    ConsumerMemory(folder).note_owed(["1-0"])
    (note,) = folder.glob("unack*")
    note.write_text(note.read_text() + "2-")
    assert ConsumerMemory(folder).owed == ["1-0"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UnavailableError, match=r"absent.*can't be read or written"):
        ConsumerMemory(tmp_path / "absent")
