"""A run's file as it is made, before it has any row."""

import h5py
import numpy as np
import pytest

from arroyo.connectors.hdf5_files.nexus_layout import Layout, RunHeader, create, explained, split
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Event

CURVE = Event.from_array(np.zeros((2, 5)), index=0, name="frame", upstream={"run": "r"})


def made(path, first=CURVE, start=None, **layout):
    create(path, RunHeader("run-1", start or {}, first), Layout(**layout))
    return h5py.File(path)


def test_all_datasets_are_there_from_the_beginning_without_rows(tmp_path):
    with made(tmp_path / "a.h5", columns=("I", "Idev")) as file:
        entry = file["entry"]
        assert entry["entry_identifier"].asstr()[()] == "run-1"
        assert sorted(entry["events"]) == ["index", "name"]
        assert entry["data"].attrs["signal"] == "I"
        assert entry["data/I"].attrs["uncertainties"] == "Idev"
        assert entry["data/I"].shape == (0, 5)
        assert entry["data/I"].maxshape == (None, 5)
        assert entry["written"].shape == (0,)
        assert not entry["totals/complete"][()]


def test_small_rows_share_a_chunk_and_packed_ones_do_not(tmp_path):
    with made(tmp_path / "a.h5", Event.from_array(np.zeros(8))) as file:
        assert file["entry/data/data"].chunks == (16384 // 64, 8)
    with made(tmp_path / "b.h5", Event.from_array(np.zeros((4, 4))), compression="gzip") as file:
        assert file["entry/data/data"].chunks == (1, 4, 4)
        assert file["entry/data/data"].compression == "gzip"


@pytest.mark.parametrize("length", [5, 6])
def test_an_axis_has_a_number_for_each_point_or_edges(tmp_path, length):
    start = {"Q": list(range(length)), "Q_units": "1/nm"}
    with made(tmp_path / "a.h5", start=start, columns=("I", "other"), axes=("Q",)) as file:
        assert file["entry/data/Q"].shape == (length,)
        assert file["entry/data/Q"].attrs["units"] == "1/nm"
        assert list(file["entry/data"].attrs["axes"]) == [".", "Q"]


def test_a_run_without_events_has_no_data(tmp_path):
    with made(tmp_path / "a.h5", None) as file:
        assert not list(file["entry/data"])


def test_what_hdf5_can_not_hold_is_named(tmp_path):
    event = Event.from_array(np.zeros(2, "<M8[s]"))
    with pytest.raises(StageError, match=r"HDF5 can't hold arrays of datetime64\[s\]"):
        made(tmp_path / "a.h5", event)
    assert not list(tmp_path.iterdir())


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path):
    (tmp_path / "a.h5").write_text("taken")
    with pytest.raises(ConfigurationError, match="was just made by another process"):
        made(tmp_path / "a.h5")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["taken"]


def test_an_array_is_split_along_its_first_axis():
    array = np.arange(6).reshape(2, 3)
    assert list(split(0, array, ())) == ["data"]
    assert split(0, array, ("a", "b"))["b"].tolist() == [3, 4, 5]
    for wrong in (array.T, np.array(1)):
        with pytest.raises(StageError, match="columns names 2 parts"):
            split(0, wrong, ("a", "b"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "ENOSPC"), "No space left on device"),
        (RuntimeError("write failed (error message = 'File too large')"), "File too large"),
        (RuntimeError("broken"), "can't be written: broken"),
    ],
)
def test_an_error_of_the_disk_is_one_sentence(tmp_path, error, words):
    with pytest.raises(UnavailableError, match=words), explained(tmp_path / "a.h5"):
        raise error
