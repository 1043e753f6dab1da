"""Mending the superblock of an HDF5 file, against files that HDF5 made."""

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors.hdf5_files.superblock import clear_marks, lookup3, mend_superblock

BLOCK_BYTES = 48
FLAGS_AT = 11
END_AT = 28


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file["values"] = range(1000)
    return path.read_bytes()[:BLOCK_BYTES]


def marked(block, end=None):
    body = bytearray(block[:-4])
    body[FLAGS_AT] = 5
    if end is not None:
        body[END_AT : END_AT + 8] = end.to_bytes(8, "little")
    return bytes(body) + lookup3(bytes(body)).to_bytes(4, "little")


def test_the_checksum_is_that_of_hdf5(block):
    assert lookup3(block[:-4]) == int.from_bytes(block[-4:], "little")


@pytest.mark.parametrize("data", [b"", b"123"])
def test_the_checksum_takes_whole_words_only(data):
    with pytest.raises(ValueError, match="multiple of 4"):
        lookup3(data)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_marks_go_and_the_end_never_lies_before_the_files(block, end, file_bytes):
    mended = mend_superblock(marked(block, end), file_bytes)
    assert mended[FLAGS_AT] == 0
    assert int.from_bytes(mended[END_AT : END_AT + 8], "little") == max(end, file_bytes)
    assert mend_superblock(mended, file_bytes) == mended


def test_what_hdf5_closed_stays_as_it_is(block):
    end = int.from_bytes(block[END_AT : END_AT + 8], "little")
    assert mend_superblock(block, end) == block


@given(st.integers(0, BLOCK_BYTES - 1), st.integers(1, 255))
def test_a_damaged_superblock_is_left_alone(block, place, change):
    damaged = bytearray(block)
    damaged[place] ^= change
    with pytest.raises(ValueError, match=r"superblock"):
        mend_superblock(bytes(damaged), 0)


def test_a_file_that_is_no_hdf5_is_left_alone(tmp_path):
    for content in (b"", b"notes", bytes(100)):
        (tmp_path / "a").write_bytes(content)
        clear_marks(tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == content
