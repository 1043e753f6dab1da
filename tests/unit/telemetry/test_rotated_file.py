import contextlib

import pytest
from small_disk import small_files

from arroyo.telemetry.rotated_file import FILES, RotatedFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines"


@pytest.fixture
def file(path):
    with contextlib.closing(RotatedFile(path)) as made:
        yield made


def test_older_lines_go_into_files_of_their_own_and_then_away(path):
    with contextlib.closing(RotatedFile(path, file_bytes=4)) as file:
        assert all(file.write(b"%d\n" % number) for number in range(8))
    names = [path, *(path.with_name(f"lines.{age}") for age in range(1, FILES))]
    assert [name.read_bytes() for name in names] == [b"6\n7\n", b"4\n5\n", b"2\n3\n"]


def test_a_line_without_room_leaves_no_half(file, path):
    assert file.write(b"first\n")
    with small_files(8):
        assert not file.write(b"second\n")
    assert file.write(b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_a_file_that_was_moved_away_is_made_anew(file, path):
    file.write(b"first\n")
    path.rename(path.with_name("elsewhere"))
    assert file.write(b"second\n")
    assert path.read_bytes() == b"second\n"


def test_without_its_folder_nothing_is_written_and_nothing_raised(tmp_path):
    assert not RotatedFile(tmp_path / "none" / "lines").write(b"x\n")
