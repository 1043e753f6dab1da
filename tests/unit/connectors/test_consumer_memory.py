"""What a consumer of a broker knows in its next life."""

import pytest

from arroyo.connectors._consumer_memory import ConsumerMemory
from arroyo.errors import UnavailableError


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "take.0"
    made.mkdir()
    return made


def test_a_consumer_keeps_its_name_and_no_two_have_the_same(folder, tmp_path):
    other = tmp_path / "take.1"
    other.mkdir()
    name = ConsumerMemory(folder).name
    assert name.startswith("take.0-")
    assert ConsumerMemory(folder).name == name
    assert len({name, ConsumerMemory(other).name, ConsumerMemory(None).name}) == 3


def test_what_is_owed_is_known_to_the_next_life_until_it_is_settled(folder):
    memory = ConsumerMemory(folder)
    for ids in (["1-0", "1-1"], ["2-0"]):
        memory.owed += ids
        memory.note_owed(ids)
    later = ConsumerMemory(folder)
    assert later.owed == ["1-0", "1-1", "2-0"]
    later.forget_owed()
    assert later.owed == []
    assert ConsumerMemory(folder).owed == []


def test_a_last_line_that_is_not_whole_is_left_out(folder):
    ConsumerMemory(folder).note_owed(["1-0"])
    with (folder / "unacknowledged").open("a") as file:
        file.write("17")
    assert ConsumerMemory(folder).owed == ["1-0"]


def test_without_a_folder_nothing_is_kept():
    memory = ConsumerMemory(None)
    memory.owed += ["1-0"]
    memory.note_owed(["1-0"])
    memory.forget_owed()
    assert memory.owed == []


def test_a_folder_that_cannot_be_written_is_one_sentence(folder):
    (folder / "consumer").mkdir()
    with pytest.raises(UnavailableError, match="consumer can't be read or written: Is a directory"):
        ConsumerMemory(folder)
