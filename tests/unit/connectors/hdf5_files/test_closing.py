"""HDF5 files that are closed, and those of which the rest is dropped."""

import h5py
import pytest

from arroyo.connectors.hdf5_files.closing import close_unwritten, closing
from arroyo.connectors.hdf5_files.superblock import clear_marks


@pytest.fixture
def file(tmp_path):
    """A file with a dataset of ten zeros, open for writing."""
    made = h5py.File(tmp_path / "a.h5", "w", libver=("v110", "v110"))
    made.create_dataset("data", data=[0] * 10)
    made.flush()
    yield made
    made.close()


def content(tmp_path):
    """Return names and the first element of each, as a file of a killed writer has them."""
    clear_marks(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as found:
        return {name: found[name][0] for name in found}


def test_a_file_is_written_and_closed(tmp_path, file):
    with closing(file):
        file["data"][:] = 1
    assert not file
    assert content(tmp_path) == {"data": 1}


def test_after_an_error_it_is_only_closed(tmp_path, file):
    with pytest.raises(OSError, match="full"), closing(file):
        file.create_dataset("more", data=[1] * 1000)
        raise OSError("full")
    assert not file
    assert content(tmp_path) == {"data": 0}


def test_what_was_not_written_is_dropped(tmp_path, file):
    file.create_dataset("more", data=[1] * 1000)
    close_unwritten(file)
    assert not file
    assert content(tmp_path) == {"data": 0}
