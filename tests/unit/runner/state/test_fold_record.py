"""What a fold has noted is there in its next life, whatever a death left half written."""

import pytest
from small_disk import fill

from arroyo.durable.frames import HEAD_BYTES, FileKind
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.protocol.fold.state import DoneInputs, FoldState, OpenOutputs
from arroyo.runner.state.fold_record import PLACE_BYTES, FoldRecord


def memory(finished):
    outputs = (OpenOutputs("s.0", "r", finished),)
    return FoldState(outputs, (DoneInputs("s.0", 1, 0, ((0, finished),), ((9, ((0, 2),)),)),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fold" / "sum.0"


def live(path, *memories):
    """Note those in one life; returns what the life before had left."""
    record = FoldRecord(path)
    for each in memories:
        record.note(each)
    record.close()
    return record.memory


def left(path):
    return live(path)


def spoil(path, place, at=20):
    """Change a byte in one of the two places: by 20 that is one of the body."""
    with path.open("r+b") as file:
        file.seek(512 + place * PLACE_BYTES + at)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_a_first_life_finds_nothing(path):
    assert left(path) == FoldState()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_next_life_finds_the_last_note(path, count):
    live(path, *map(memory, range(1, count + 1)))
    assert left(path) == memory(count)


def test_lives_go_on_in_turn(path):
    for count in range(1, 6):
        live(path, memory(count))
        assert left(path) == memory(count)


@pytest.mark.parametrize("at", [0, 4, 20], ids=["length", "checksum", "body"])
def test_a_note_that_was_torn_leaves_the_one_before_and_the_next_one_takes_its_place(path, at):
    live(path, memory(1), memory(2))
    spoil(path, 0, at)
    assert live(path, memory(3)) == memory(1)
    assert left(path) == memory(3)


def test_where_both_places_are_broken_there_is_nothing(path):
    live(path, memory(1), memory(2))
    for place in (0, 1):
        spoil(path, place)
    assert live(path, memory(3)) == FoldState()
    assert left(path) == memory(3)


def test_a_file_of_something_else_is_nothing(path):
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 3000)
    assert live(path, memory(1)) == FoldState()
    assert left(path) == memory(1)


def test_what_has_not_changed_is_not_written_again(path):
    live(path, memory(1), memory(2), memory(2))
    live(path, memory(2))
    spoil(path, 0)
    assert left(path) == memory(1)


def test_a_full_disk_is_met_before_the_run_and_not_in_it(small_disk):
    disk = small_disk(2048)
    record = FoldRecord(disk / "fold" / "sum.0")
    fill(disk)
    with pytest.raises(UnavailableError, match="No space left on device; make room on its disk"):
        FoldRecord(disk / "fold" / "other.0")
    for number in range(1000):
        record.note(memory(number))
    record.close()
    assert left(disk / "fold" / "sum.0") == memory(999)


def test_a_record_of_another_version_is_refused_and_stays(path):
    live(path, memory(1))
    content = FileKind(b"FOLD", 2).head + path.read_bytes()[HEAD_BYTES:]
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"sum\.0 was written by another version"):
        left(path)
    assert path.read_bytes() == content


def test_inputs_that_are_too_many_are_left_out(path):
    inputs = tuple(DoneInputs("s.0", 1, number, ((0, 9),)) for number in range(PLACE_BYTES // 8))
    live(path, memory(1), FoldState(memory(2).outputs, inputs))
    assert left(path) == FoldState(memory(2).outputs)


@pytest.mark.parametrize("count", [1, 2], ids=["first place", "second place"])
def test_of_runs_that_are_too_many_the_oldest_are_left_out(path, count):
    outputs = tuple(OpenOutputs("s.0", f"r{number}", 1) for number in range(PLACE_BYTES // 8))
    live(path, *map(memory, range(1, count + 1)), FoldState(outputs))
    kept = left(path).outputs
    assert 0 < len(kept) < len(outputs)
    assert kept == outputs[-len(kept) :]
    spoil(path, (count + 1) % 2)
    assert left(path) == memory(count)


def test_nobody_else_may_look_into_it(path):
    left(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set ARROYO_STATE_DIR"):
        FoldRecord(tmp_path / "file" / "sum.0")
