"""HDF5Publisher: rows by index, a file that can be read while it grows, kills, refusals."""

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arroyo.connectors.hdf5_files import HDF5Publisher
from arroyo.errors import ConfigurationError, DecodeError, StageError
from arroyo.messages import Event, Message, Origin, Start, Stop

POINTS = 5
Q = [0.1, 0.2, 0.3, 0.4, 0.5]


def come_from(message, sequence=-1, run="run-1", source="detector.0", epoch=1, path=0, fragment=()):
    message._origin = Origin(run, source, epoch, sequence, path, fragment)
    return message


def curve(sequence, **origin):
    array = np.stack([np.full(POINTS, float(sequence)), np.full(POINTS, 0.5)])
    event = Event.from_array(array, index=sequence, exposure_s=0.1, name=f"frame {sequence}")
    return come_from(event, sequence, **origin)


def start(data=None, **origin):
    return come_from(Start(data or {"sample": "silica", "Q": Q, "Q_units": "1/nm"}), **origin)


def stop(data=None, **origin):
    totals = {"sent": 4, "filtered": 1, "skipped": 0, "quarantined": 0, "lost": 0}
    return come_from(Stop(data or {"totals": totals | {"complete": True}}), **origin)


@contextlib.contextmanager
def opened(path, **options):
    publisher = HDF5Publisher(str(path), **options)
    publisher.open()
    try:
        yield publisher
    finally:
        publisher.close()


def write_run(path, order=range(4), run="run-1", **options):
    options = {"columns": ["I", "I_errors"], "axes": ["Q"]} | options
    with opened(path, **options) as publisher:
        publisher.publish(start(run=run))
        for sequence in order:
            publisher.publish(curve(sequence, run=run))
        publisher.publish(stop(run=run))


def curves_in(path):
    with h5py.File(path) as file:
        return file["entry/data/I"][:, 0].tolist()


def test_each_event_is_in_the_row_of_its_sequence_whatever_the_order(tmp_path):
    write_run(tmp_path / "out.h5", order=[2, 0, 3, 1])
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/data/I"][:, 0].tolist() == [0, 1, 2, 3]
        assert file["entry/data/I_errors"].shape == (4, POINTS)
        assert file["entry/events/index"][:].tolist() == [0, 1, 2, 3]
        assert file["entry/events/exposure_s"][:].tolist() == [0.1] * 4
        assert file["entry/events/name"].asstr()[2] == "frame 2"
        assert file["entry/written"][:].tolist() == [1, 1, 1, 1]


def test_a_viewer_finds_signal_axis_errors_and_units(tmp_path):
    write_run(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        classes = [group.attrs["NX_class"] for group in (file, entry, data)]
        assert classes == ["NXroot", "NXentry", "NXdata"]
        assert data.attrs["signal"] == "I"
        assert data.attrs["axes"].tolist() == [".", "Q"]
        assert data["I"].attrs["uncertainties"] == "I_errors"
        assert data["I"].attrs["interpretation"] == "spectrum"
        assert data["Q"][:].tolist() == Q
        assert data["Q"].attrs["units"] == "1/nm"
        assert entry["entry_identifier"].asstr()[()] == "run-1"


def test_start_and_stop_are_kept(tmp_path):
    write_run(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        entry = file["entry"]
        assert json.loads(entry["start/data"].asstr()[()])["Q"] == Q
        assert entry["start"].attrs["sample"] == "silica"
        assert json.loads(b"".join(entry["stop/data"][()]))["totals"]["sent"] == 4
        assert entry["totals/sent"][()] == 4
        assert entry["totals/complete"][()]


def test_a_stop_of_any_length_is_kept(tmp_path):
    with opened(tmp_path / "out.h5") as publisher:
        publisher.publish(curve(0))
        publisher.publish(stop({"comment": "ü" * 10_000}))
    with h5py.File(tmp_path / "out.h5") as file:
        assert json.loads(b"".join(file["entry/stop/data"][()]))["comment"] == "ü" * 10_000
        assert file["entry/totals/sent"][()] == -1


def test_rows_that_never_came_are_seen(tmp_path):
    write_run(tmp_path / "out.h5", order=[0, 3])
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/written"][:].tolist() == [1, 0, 0, 1]
        assert np.isnan(file["entry/data/I"][1]).all()
        assert file["entry/events/index"][1] == np.iinfo(np.int64).min


def test_an_event_that_comes_twice_is_one_row(tmp_path):
    write_run(tmp_path / "out.h5", order=[0, 1, 1, 0, 2])
    assert curves_in(tmp_path / "out.h5") == [0, 1, 2]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(0, 12) | st.sampled_from(["flush", "reopen"]), max_size=30),
    st.integers(0, 1 << 60),
)
def test_any_order_of_events_flushes_and_restarts_gives_the_same_file(tmp_path, steps, number):
    path = tmp_path / f"{number}.h5"
    path.unlink(missing_ok=True)
    publisher = HDF5Publisher(str(path), columns=["I", "I_errors"])
    publisher.open()
    for step in steps:
        if step == "flush":
            publisher.flush()
        elif step == "reopen":
            publisher.close()
            publisher.open()
        else:
            publisher.publish(curve(step))
    publisher.publish(stop())
    publisher.close()
    came = {step for step in steps if isinstance(step, int)}
    with h5py.File(path) as file:
        written = file["entry/written"][:]
        assert set(np.flatnonzero(written).tolist()) == came
        for row in came:
            assert file["entry/data/I"][row].tolist() == [row] * POINTS
            assert file["entry/events/index"][row] == row
            assert file["entry/events/name"].asstr()[row] == f"frame {row}"
        assert file["entry/stop/data"].shape == (1,)


def test_images_become_one_dataset_and_can_be_packed(tmp_path):
    image = np.arange(12, dtype=">u2").reshape(3, 4)
    with opened(tmp_path / "out.h5", axes=["y", "x"], compression="gzip") as publisher:
        publisher.publish(start({"y": [0, 1, 2], "x": [0, 1, 2, 3, 4], "x_units": "mm"}))
        for sequence in range(3):
            publisher.publish(come_from(Event.from_array(image + sequence), sequence))
        publisher.publish(stop())
    with h5py.File(tmp_path / "out.h5") as file:
        data = file["entry/data"]
        assert (data["data"][2] == image + 2).all()
        assert data["data"].compression == "gzip"
        assert data["data"].chunks == (1, 3, 4)
        assert data["data"].attrs["interpretation"] == "image"
        assert data["x"].attrs["units"] == "mm"


def test_numbers_become_a_curve_over_the_events(tmp_path):
    with opened(tmp_path / "out.h5") as publisher:
        for sequence in range(3):
            publisher.publish(come_from(Event.from_array(sequence * 2.0), sequence))
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/data/data"][:].tolist() == [0, 2, 4]


def test_events_without_an_array_leave_their_metadata(tmp_path):
    with opened(tmp_path / "out.h5") as publisher:
        for sequence in range(3):
            publisher.publish(come_from(Event({"current_A": sequence / 2}, b"bytes"), sequence))
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/events/current_A"][:].tolist() == [0, 0.5, 1]
        assert list(file["entry/data"]) == []


def test_a_run_without_events_has_a_file_too(tmp_path):
    write_run(tmp_path / "out.h5", order=[])
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/written"].shape == (0,)
        assert file["entry/totals/complete"][()]


def test_values_that_do_not_fit_are_not_stored_and_counted_aloud(tmp_path, caplog):
    metadata = [
        {"n": 1, "x": 0.5, "on": True, "text": "a", "list": [1]},
        {"n": 2.0, "x": 3, "on": False, "text": "ü" * 200, "new": 1},
        {"n": 2.5, "x": 2**60 + 1, "on": 7, "text": 4},
        {"n": None, "x": None},
        {"n": 10**400, "x": 10**400, "on": float("nan"), "text": "a\0b"},
    ]
    with opened(tmp_path / "out.h5") as publisher:
        for sequence, each in enumerate(metadata):
            publisher.publish(come_from(Event(each), sequence))
        with caplog.at_level(logging.WARNING):
            publisher.publish(stop())
    least = np.iinfo(np.int64).min
    with h5py.File(tmp_path / "out.h5") as file:
        events = file["entry/events"]
        assert sorted(events) == ["n", "on", "text", "x"]
        assert events["n"][:].tolist() == [1, 2, least, least, least]
        np.testing.assert_array_equal(events["x"][:], [0.5, 3, np.nan, np.nan, np.nan])
        assert events["on"][:].tolist() == [True, False, False, False, False]
        text = events["text"].asstr()[:].tolist()
        assert text == ["a", "ü" * 126 + "…", "", "", ""]
        assert file["entry/written"][:].tolist() == [1] * 5
    said = sorted(record.args[1:] for record in caplog.records)
    assert said == [(1, "list"), (1, "new"), (2, "n"), (2, "on"), (2, "text"), (2, "x")]


def test_a_reader_sees_rows_while_the_file_grows(tmp_path):
    path = tmp_path / "out.h5"
    with opened(path, columns=["I", "I_errors"]) as publisher:
        publisher.publish(start())
        publisher.publish(curve(0))
        publisher.flush()
        assert rows_seen_by_another_process(path) == [0]
        publisher.publish(curve(1))
        assert rows_seen_by_another_process(path) == [0]
        publisher.flush()
        assert rows_seen_by_another_process(path) == [0, 1]


def rows_seen_by_another_process(path):
    program = """
        import sys, h5py, numpy
        with h5py.File(sys.argv[1], "r", swmr=True) as file:
            entry = file["entry"]
            rows = numpy.flatnonzero(entry["written"][:])
            assert all(entry["data/I"][row, 0] == row for row in rows)
            assert all(entry["events/index"][row] == row for row in rows)
            print(rows.tolist())
        """
    done = run_python(program, path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_python(program, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[2])
    from test_publisher import HDF5Publisher, curve, start
    publisher = HDF5Publisher(sys.argv[1], columns=["I", "I_errors"])
    publisher.open()
    publisher.publish(start())
    for sequence in range(3000):
        publisher.publish(curve(sequence))
        if sequence == 99:
            publisher.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    """


def kill_a_writer(path):
    done = run_python(KILLED, path, Path(__file__).parent)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_writer_is_continued_in_the_same_file_without_loss(tmp_path):
    path = tmp_path / "out.h5"
    kill_a_writer(path)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r+")
    with opened(path, columns=["I", "I_errors"]) as publisher:
        publisher.publish(start())
        for sequence in range(100, 3200):
            publisher.publish(curve(sequence))
        publisher.publish(stop())
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.h5"]
    with h5py.File(path) as file:
        assert file["entry/written"][:].tolist() == [1] * 3200
        assert file["entry/data/I"][:, 0].tolist() == list(range(3200))
        assert file["entry/data/I_errors"][:].tolist() == [[0.5] * POINTS] * 3200
        assert file["entry/events/index"][:].tolist() == list(range(3200))
        assert file["entry/start"].attrs["sample"] == "silica"


KILL_AFTER_LINES = (1, 2, 40, 1, 100)
ENDLESS = """
    import sys
    sys.path.insert(0, sys.argv[2])
    from test_publisher import HDF5Publisher, curve, start
    publisher = HDF5Publisher(sys.argv[1], columns=["I", "I_errors"])
    publisher.open()
    print(-1, flush=True)
    for sequence in range(int(sys.argv[3]), 1 << 40):
        publisher.publish(curve(sequence))
        if sequence % 7 == 0:
            publisher.flush()
            print(sequence, flush=True)
    """


def test_kills_at_any_moment_lose_nothing_that_was_flushed(tmp_path):
    path = tmp_path / "out.h5"
    rows = []
    for lines in KILL_AFTER_LINES:
        arguments = [path, Path(__file__).parent, len(rows)]
        command = [sys.executable, "-c", textwrap.dedent(ENDLESS), *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            told = [writer.stdout.readline() for _ in range(lines)]
            writer.kill()
            told += writer.stdout.readlines()
        flushed = max(len(rows) - 1, *map(int, told))
        if path.exists():
            rows = rows_seen_by_another_process(path)
        assert rows[: flushed + 1] == list(range(flushed + 1))
    with opened(path, columns=["I", "I_errors"]) as publisher:
        publisher.publish(curve(len(rows)))
        publisher.publish(stop())
    assert [entry.name for entry in tmp_path.glob("*.h5")] == ["out.h5"]
    # A reader does not look behind the end that the killed writer noted down; its successor does,
    # and finds what was on its way into the file.
    found = curves_in(path)
    assert len(found) > len(rows)
    assert found == list(range(len(found)))


def test_what_a_killed_writer_marked_as_written_is_there(tmp_path):
    path = tmp_path / "out.h5"
    kill_a_writer(path)
    rows = rows_seen_by_another_process(path)
    assert rows[:100] == list(range(100))


def test_a_killed_writer_of_another_run_is_made_readable_and_left_alone(tmp_path):
    path = tmp_path / "out.h5"
    kill_a_writer(path)
    write_run(path, run="run-2", order=[0])
    with h5py.File(path) as file:
        assert file["entry/entry_identifier"].asstr()[()] == "run-1"
        assert file["entry/written"][:100].tolist() == [1] * 100
    assert curves_in(tmp_path / "out-2.h5") == [0]


def test_a_second_run_never_overwrites_the_first(tmp_path):
    for run in ("run-1", "run-2", "run-3"):
        write_run(tmp_path / "out.h5", run=run)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out-2.h5", "out-3.h5", "out.h5"]
    with h5py.File(tmp_path / "out-3.h5") as file:
        assert file["entry/entry_identifier"].asstr()[()] == "run-3"


def test_a_foreign_file_is_left_as_it_is(tmp_path):
    (tmp_path / "out.h5").write_text("my notes")
    write_run(tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_text() == "my notes"
    assert curves_in(tmp_path / "out-2.h5") == [0, 1, 2, 3]


def test_runs_at_the_same_time_have_files_of_their_own(tmp_path):
    with opened(tmp_path / "out.h5", columns=["I", "I_errors"]) as publisher:
        for run, sequence in itertools.product(("run-1", "run-2"), range(3)):
            publisher.publish(curve(sequence, run=run))
        for run in ("run-1", "run-2"):
            publisher.publish(stop(run=run))
    assert curves_in(tmp_path / "out.h5") == curves_in(tmp_path / "out-2.h5") == [0, 1, 2]


def test_the_run_can_name_folder_and_file(tmp_path):
    write_run(tmp_path / "{run}" / "saxs_{run}.h5")
    assert curves_in(tmp_path / "run-1" / "saxs_run-1.h5") == [0, 1, 2, 3]


def test_a_finished_run_that_is_stopped_again_stays_whole(tmp_path):
    write_run(tmp_path / "out.h5")
    write_run(tmp_path / "out.h5", order=[2])
    assert curves_in(tmp_path / "out.h5") == [0, 1, 2, 3]
    assert not (tmp_path / "out-2.h5").exists()


def test_the_run_of_a_source_that_died_is_closed_when_it_comes_back(tmp_path):
    with opened(tmp_path / "{run}.h5", columns=["I", "I_errors"]) as publisher:
        publisher.publish(start())
        publisher.publish(curve(0))
        publisher.publish(start(run="run-2", epoch=2))
        done = run_python("import sys, h5py; h5py.File(sys.argv[1], 'r')", tmp_path / "run-1.h5")
        assert done.returncode == 0, done.stderr


def test_only_one_process_writes_a_file(tmp_path):
    path = tmp_path / "out.h5"
    with opened(path, columns=["I", "I_errors"]) as publisher:
        publisher.publish(curve(0))
        publisher.flush()
        program = """
            import sys
            from arroyo.connectors.hdf5_files import HDF5Publisher
            from arroyo.errors import ConfigurationError
            try:
                HDF5Publisher(sys.argv[1]).open()
            except ConfigurationError as error:
                print(error)
            """
        assert f"another process is writing {path}" in run_python(program, path).stdout
        publisher.publish(curve(1))
    assert curves_in(path) == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: come_from(Event.from_array(np.zeros((2, 4))), 1), "all arrays of a run must be"),
        (lambda: come_from(Event.from_array(np.zeros((2, POINTS), complex)), 1), "must be alike"),
        (lambda: come_from(Event.from_array(np.zeros((3, POINTS))), 1), "columns names 2 parts"),
        (lambda: come_from(Event(), 1), "carries no array"),
        (lambda: curve(1, fragment=((0, 2),)), "one of several"),
        (lambda: curve(1, path=1), "by two ways"),
        (Event, "without origin"),
        (lambda: come_from(Message(), 1), "can't store a Message"),
    ],
)
def test_an_event_without_a_place_is_refused_and_the_rest_goes_on(tmp_path, wrong, sentence):
    with opened(tmp_path / "out.h5", columns=["I", "I_errors"]) as publisher:
        publisher.publish(curve(0))
        with pytest.raises(StageError, match=sentence):
            publisher.publish(wrong())
        publisher.publish(curve(2))
    assert curves_in(tmp_path / "out.h5")[::2] == [0, 2]


def test_a_broken_array_is_the_senders_fault(tmp_path):
    with opened(tmp_path / "out.h5") as publisher, pytest.raises(DecodeError, match="event 0"):
        publisher.publish(come_from(Event({}, b"123", "<f8", (4,)), 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"T": 1}, "the run's Start has no such data; it has T"),
        ({"Q": Q[:3]}, "expected 5 numbers"),
        ({"Q": "five"}, "expected 5 numbers"),
    ],
)
def test_a_missing_axis_is_named(tmp_path, data, sentence):
    with opened(tmp_path / "out.h5", columns=["I", "I_errors"], axes=["Q"]) as publisher:
        publisher.publish(start(data))
        with pytest.raises(StageError, match=sentence):
            publisher.publish(curve(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": "out-{scan}.h5"}, "path is 'out-{scan}.h5'"),
        ({"path": ""}, "path is ''"),
        ({"path": "o.h5", "columns": ["I", "I"]}, "all names must differ"),
        ({"path": "o.h5", "columns": ["I"], "axes": ["I"]}, "all names must differ"),
        ({"path": "o.h5", "columns": ["a/b"]}, "without /"),
        ({"path": "o.h5", "compression": "zip"}, "compression is 'zip'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        HDF5Publisher(**options)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"the folder {tmp_path}/results does not exist"):
        HDF5Publisher(str(tmp_path / "results" / "out.h5")).open()


@pytest.mark.skipif(
    os.geteuid() == 0, reason="run as an ordinary account: root may write everywhere"
)
def test_a_folder_that_can_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="can't be written"):
        HDF5Publisher(str(tmp_path / "out.h5")).open()


def test_columns_must_not_change_within_a_run(tmp_path):
    with opened(tmp_path / "out.h5") as publisher:
        publisher.publish(curve(0))
    changed = pytest.raises(StageError, match="columns must not change within a run")
    with opened(tmp_path / "out.h5", columns=["I"]) as publisher, changed:
        publisher.publish(come_from(Event.from_array(np.zeros((1, POINTS))), 1))


def test_without_h5py_it_says_what_to_install(tmp_path):
    program = """
        import sys
        sys.modules["h5py"] = None
        from arroyo.connectors.hdf5_files import HDF5Publisher
        from arroyo.errors import ConfigurationError
        try:
            HDF5Publisher("out.h5").open()
        except ConfigurationError as error:
            print(error)
        """
    assert 'pip install "arroyo[hdf5]"' in run_python(program).stdout


def test_the_module_loads_neither_h5py_nor_numpy():
    program = """
        import sys
        import arroyo.connectors.hdf5_files
        print({"h5py", "numpy"} & set(sys.modules))
        """
    assert run_python(program).stdout.strip() == "set()"


FULL_DISK = """
    import os, resource, signal, sys
    sys.path.insert(0, sys.argv[2])
    from test_publisher import HDF5Publisher, curve
    from arroyo.errors import UnavailableError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    publisher = HDF5Publisher(sys.argv[1], columns=["I", "I_errors"])
    publisher.open()
    try:
        for sequence in range(100_000):
            publisher.publish(curve(sequence))
            if sequence % 10 == 0:
                publisher.flush()
    except UnavailableError as error:
        print(error, flush=True)
    os._exit(0)
    """


def test_a_full_disk_is_one_sentence_and_what_was_flushed_stays(tmp_path):
    done = run_python(FULL_DISK, tmp_path / "out.h5", Path(__file__).parent)
    assert "can't be written: File too large; check the disk's free space" in done.stdout
    assert len(rows_seen_by_another_process(tmp_path / "out.h5")) > 10


def test_where_a_message_came_from_is_no_missing_value(tmp_path, caplog):
    with opened(tmp_path / "out.h5") as publisher:
        for sequence in range(3):
            event = Event({"upstream": {"run": "r", "sequence": sequence}, "n": sequence})
            publisher.publish(come_from(event, sequence))
        publisher.publish(stop())
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


NEARLY_FULL_DISK = """
    import gc, sys
    sys.path[:0] = sys.argv[2:]
    from pathlib import Path
    from test_publisher import HDF5Publisher, curve, start, stop
    from arroyo.errors import UnavailableError
    path = Path(sys.argv[1])
    for pages in range(0, 60, 3):
        ballast = path.with_name("ballast")
        ballast.write_bytes(bytes(4096 * (128 - pages)))
        for every in (3, 1000):
            publisher = HDF5Publisher(str(path), columns=["I", "I_errors"])
            try:
                publisher.open()
                publisher.publish(start())
                for sequence in range(5000):
                    publisher.publish(curve(sequence))
                    if sequence % every == 0:
                        publisher.flush()
            except UnavailableError:
                print("full", flush=True)
            try:
                publisher.close()
            except UnavailableError:
                pass
            del publisher
            gc.collect()
            path.unlink(missing_ok=True)
    """


def test_a_disk_may_be_full_at_any_moment(tmp_path, small_disk):
    disk = small_disk(512)
    done = run_python(NEARLY_FULL_DISK, disk / "out.h5", *paths())
    assert done.stdout.count("full") == 40
    assert [each.name for each in disk.iterdir()] == ["ballast"]


def test_a_file_whose_disk_was_full_goes_on_when_there_is_room(tmp_path, small_disk):
    path = small_disk(512) / "out.h5"
    done = run_python(FILL_AND_GO_ON, path, *paths())
    flushed = int(done.stdout)
    assert flushed > 10
    with h5py.File(path) as file:
        assert file["entry/data/I"][:, 0].tolist() == list(range(flushed + 10))
        assert file["entry/written"][:].all()


FILL_AND_GO_ON = """
    import sys
    sys.path[:0] = sys.argv[2:]
    from pathlib import Path
    from test_publisher import HDF5Publisher, curve, start, stop
    from arroyo.errors import UnavailableError
    path = Path(sys.argv[1])
    ballast = path.with_name("ballast")
    ballast.write_bytes(bytes(4096 * 70))
    flushed = 0
    publisher = HDF5Publisher(str(path), columns=["I", "I_errors"])
    publisher.open()
    publisher.publish(start())
    try:
        for sequence in range(100_000):
            publisher.publish(curve(sequence))
            if sequence % 10 == 9:
                publisher.flush()
                flushed = sequence + 1
    except UnavailableError:
        pass
    publisher.close()
    ballast.unlink()
    publisher = HDF5Publisher(str(path), columns=["I", "I_errors"])
    publisher.open()
    publisher.publish(start())
    for sequence in range(flushed, flushed + 10):
        publisher.publish(curve(sequence))
    publisher.publish(stop())
    publisher.close()
    print(flushed)
    """


def paths():
    """Folders of the modules that programs of these tests import."""
    return [Path(__file__).parent, Path(__file__).parents[2]]
