"""A run's file while it is written: rows, marks, the lock."""

import contextlib
import shutil

import h5py
import numpy as np
import pytest

from arroyo.connectors.hdf5_files.nexus_file import NexusFile, release, run_of, take_over
from arroyo.connectors.hdf5_files.nexus_layout import HOW_TO_OPEN, Layout, RunHeader, create
from arroyo.connectors.hdf5_files.superblock import clear_marks
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Event, Stop


def curve(number):
    return Event.from_array(np.full(3, float(number)), n=number)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    create(path, RunHeader("run-1", {}, curve(0)), Layout())
    return path


@pytest.fixture
def file(path):
    with contextlib.closing(NexusFile(path, Layout())) as made:
        yield made


def rows_in(path):
    """Return marks and first elements, as they are found after a kill at this moment."""
    copy = shutil.copy(path, path.with_name("copy.h5"))
    clear_marks(copy)
    with h5py.File(copy) as found:
        return found["entry/written"][:].tolist(), found["entry/data/data"][:, 0].tolist()


def test_a_row_is_marked_when_it_is_flushed(path, file):
    for row in (4, 0, 1):
        file.put(row, curve(row))
    assert rows_in(path)[0] == []
    file.flush()
    marks, values = rows_in(path)
    assert marks == [1, 1, 0, 0, 1]
    assert [values[row] for row in (0, 1, 4)] == [0.0, 1.0, 4.0]
    assert np.isnan(values[2])


def test_a_value_that_does_not_fit_is_counted(file):
    file.put(0, Event.from_array(np.zeros(3), n=0.5, other=1))
    assert file.unstored == {"n": 1, "other": 1}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event.from_array(np.zeros(4)), "must be alike"),
        (Event.from_array(np.zeros(3, complex)), "must be alike"),
        (Event(), "carries no array"),
    ],
)
def test_an_event_of_another_kind_is_refused(file, event, words):
    with pytest.raises(StageError, match=words):
        file.put(1, event)


def test_a_later_stop_replaces_an_earlier_one(path):
    with contextlib.closing(NexusFile(path, Layout())) as file:
        file.finish(Stop({"totals": {"sent": 1, "complete": True}, "note": "x" * 10_000}))
        file.finish(Stop({"totals": {"sent": 2, "lost_at_most": 1}}))
    with h5py.File(path) as found:
        assert b"".join(found["entry/stop/data"][:]) == b'{"totals":{"sent":2,"lost_at_most":1}}'
        assert found["entry/totals/sent"][()] == 2
        assert found["entry/totals/lost"][()] == -1
        assert found["entry/totals/lost_at_most"][()] == 1
        assert not found["entry/totals/complete"][()]


def test_the_file_of_an_older_version_gets_the_totals_that_it_has_room_for(path):
    with h5py.File(path, "r+", **HOW_TO_OPEN) as made:
        del made["entry/totals/lost_at_most"]
    with contextlib.closing(NexusFile(path, Layout())) as file:
        file.finish(Stop({"totals": {"sent": 2, "lost_at_most": 1}}))
    with h5py.File(path) as found:
        assert found["entry/totals/sent"][()] == 2


def test_a_second_writer_is_refused_and_harms_nothing(path):
    with contextlib.closing(NexusFile(path, Layout())) as file:
        file.put(0, curve(0))
        with pytest.raises(ConfigurationError, match=f"another process is writing {path}"):
            NexusFile(path, Layout())
    assert rows_in(path) == ([1], [0.0])
    NexusFile(path, Layout()).close()


def test_a_file_is_free_when_the_descriptor_is_closed(path):
    with open(take_over(path)), pytest.raises(ConfigurationError):
        take_over(path)
    release(path)


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(UnavailableError, match=r"none\.h5 can't be written: No such file"):
        NexusFile(tmp_path / "none.h5", Layout())


def test_only_files_of_ours_name_their_run(path, tmp_path):
    assert run_of(path) == "run-1"
    (tmp_path / "text").write_text("no HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as foreign:
        foreign["data"] = 1
    assert run_of(tmp_path / "text") is run_of(tmp_path / "foreign.h5") is None
    release(tmp_path / "foreign.h5")


def test_the_next_writer_continues(path):
    with contextlib.closing(NexusFile(path, Layout())) as file:
        file.put(0, curve(0))
    with h5py.File(path, "r+") as found:  # as a writer leaves it that is killed while it grows
        found["entry/written"].resize((7,))
    with contextlib.closing(NexusFile(path, Layout())) as again:
        again.put(1, curve(1))
    marks, values = rows_in(path)
    assert marks == [1, 1, 0, 0, 0, 0, 0]
    assert len(values) == 7
