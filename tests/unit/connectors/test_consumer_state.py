"""What a consumer of a broker knows in its next life."""

import pytest
from small_disk import small_files

from arroyo.connectors.consumer_state import ConsumerState
from arroyo.errors import UnavailableError


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "take.0"
    made.mkdir()
    return made


def test_a_consumer_keeps_its_name_and_no_two_have_the_same(folder, tmp_path):
    other = tmp_path / "take.1"
    other.mkdir()
    name = ConsumerState(folder).name
    assert name.startswith("take.0-")
    assert ConsumerState(folder).name == name
    assert len({name, ConsumerState(other).name, ConsumerState(None).name}) == 3


def test_what_is_owed_is_known_to_the_next_life_until_it_is_settled(folder):
    state = ConsumerState(folder)
    for ids in (["1-0", "1-1"], ["2-0"]):
        state.note_owed(ids)
    later = ConsumerState(folder)
    assert later.owed == state.owed == ["1-0", "1-1", "2-0"]
    later.forget_owed()
    later.note_owed(["3-0"])
    assert ConsumerState(folder).owed == later.owed == ["3-0"]


def test_a_damaged_file_owes_nothing_that_no_server_knows(folder):
    state = ConsumerState(folder)
    state.note_owed(["1-0"])
    with (folder / "consumer").open("ab") as file:
        file.write(bytes(20) + b"2-0\n")  # as after a power cut
    again = ConsumerState(folder)
    assert (again.name, again.owed) == (state.name, ["1-0"])


@pytest.mark.parametrize("content", [b"", bytes(20)])
def test_a_consumer_whose_name_is_lost_has_a_new_one_and_says_so(folder, content, caplog):
    (folder / "consumer").write_bytes(content)
    name = ConsumerState(folder).name
    assert name.startswith("take.0-")
    assert "consumer is damaged" in caplog.text
    assert ConsumerState(folder).name == name


def test_without_a_folder_nothing_is_kept():
    state = ConsumerState(None)
    state.note_owed(["1-0"])
    assert state.owed == ["1-0"]
    state.forget_owed()
    assert state.owed == []


def test_on_a_full_disk_what_is_owed_is_known_to_this_life(folder, caplog):
    state = ConsumerState(folder)
    with small_files(100):
        state.note_owed(["1-0"] * 30)
    state.note_owed(["2-0"])
    assert state.owed == [*["1-0"] * 30, "2-0"]
    assert "should this stage die while the server is away" in caplog.text
    state.forget_owed()
    assert state.owed == ConsumerState(folder).owed == []


def test_a_folder_that_cannot_be_written_is_one_sentence(folder):
    (folder / "consumer").mkdir()
    with pytest.raises(UnavailableError, match="consumer can't be read or written: Is a directory"):
        ConsumerState(folder)
