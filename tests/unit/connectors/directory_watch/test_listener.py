"""DirectoryListener: each file once, when it is complete, in order; and what goes wrong."""

import contextlib
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from chains import wait_until
from hypothesis import given
from hypothesis import strategies as st
from outside import Recorder, running

from arroyo.connectors import DirectoryListener
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.messages import Start, Stop


class Files(Recorder):
    @property
    def names(self):
        return [event.metadata["filename"] for event in self.events]


def read_all(directory, pattern="*", **options):
    """Run the listener over what is there, to its end."""
    recorder = Files()
    options = {"settle_s": 0, "poll_s": 0.001, "stop_after_idle_s": 0} | options
    listener = DirectoryListener(recorder, str(directory), pattern, **options)
    listener.open()
    listener.start()
    listener.close()
    return recorder


@contextlib.contextmanager
def watching(directory, **options):
    """Run the listener in a thread, until the block ends."""
    recorder = Files()
    listener = DirectoryListener(
        recorder, str(directory), **({"settle_s": 0, "poll_s": 0.001} | options)
    )
    with running(listener):
        yield recorder


def write(path, content=b"content", mtime_s=None):
    path.write_bytes(content)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))
    return path


def test_a_directory_becomes_one_run_in_order_of_time_then_name(tmp_path):
    for name, mtime_s in [("c", 10), ("b", 30), ("a", 30), ("d", 20)]:
        write(tmp_path / name, mtime_s=mtime_s)
    recorder = read_all(tmp_path)
    assert recorder.names == ["c", "d", "a", "b"]
    first, *_, last = recorder.messages
    assert first == Start({"directory": str(tmp_path), "pattern": "*"})
    assert last == Stop({"files": 4, "rejected": 0, "vanished": 0})


def test_an_event_says_which_file_it_is(tmp_path):
    path = write(tmp_path / "image.bin", b"12345", mtime_s=1_700_000_000.5)
    recorder = read_all(tmp_path)
    event = recorder.messages[1]
    assert event.metadata == {
        "filename": "image.bin",
        "path": str(path),
        "size": 5,
        "mtime": 1_700_000_000.5,
    }
    assert event.payload == b"12345"
    assert recorder.tokens == [0]


def test_path_reads_nothing(tmp_path):
    write(tmp_path / "image.bin")
    event = read_all(tmp_path, read="path").messages[1]
    assert event.payload == b""
    assert event.metadata["size"] == 7


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".npy"])
def test_images_become_arrays_that_need_no_copy(tmp_path, suffix):
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    with (tmp_path / f"image{suffix}").open("wb") as file:
        (np.save if suffix == ".npy" else tifffile.imwrite)(file, image)
    event = read_all(tmp_path, read="array").messages[1]
    assert (event.array == image).all()
    assert event.array.dtype == np.uint16
    assert memoryview(event.payload).readonly


def test_a_broken_image_is_named_and_counted_and_the_rest_goes_on(tmp_path, caplog):
    whole = np.ones((64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "1-whole.tif", whole)
    write(tmp_path / "2-text.tif", b"no image at all")
    write(tmp_path / "3-cut.tif", (tmp_path / "1-whole.tif").read_bytes()[:2000])
    write(tmp_path / "4-photo.jpg", b"jpeg")
    np.save(tmp_path / "5-objects.npy", np.array([{}], object))
    np.save(tmp_path / "6-fields.npy", np.zeros(2, [("a", "u1")]))
    np.save(tmp_path / "7-whole.npy", whole)
    with caplog.at_level(logging.WARNING, "arroyo"):
        recorder = read_all(tmp_path, read="array")
    assert sorted(recorder.names) == ["1-whole.tif", "7-whole.npy"]
    assert recorder.messages[-1].data == {"files": 2, "rejected": 5, "vanished": 0}
    said = [record.message for record in caplog.records if record.name.startswith("arroyo")]
    assert len(said) == 5
    for name in ("2-text.tif", "3-cut.tif", "4-photo.jpg", "5-objects.npy", "6-fields.npy"):
        assert any(name in message for message in said)


@given(st.data())
def test_no_damage_to_an_image_stops_the_listener(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("images")
    kind = data.draw(st.sampled_from(["a.tif", "a.npy"]))
    with (folder / kind).open("wb") as file:
        write_image = np.save if kind == "a.npy" else tifffile.imwrite
        write_image(file, np.arange(24, dtype=np.uint16).reshape(4, 6))
    content = bytearray((folder / kind).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    write(folder / kind, bytes(content))
    counts = read_all(folder, read="array").messages[-1].data
    assert counts["files"] + counts["rejected"] == 1


def test_a_file_that_no_frame_can_hold_is_named_and_left_out(tmp_path, caplog):
    write(tmp_path / "1.bin")
    with (tmp_path / "2-large.bin").open("wb") as file:
        file.truncate(1 << 32)  # takes no room on the disk
    write(tmp_path / "3.bin")
    recorder = read_all(tmp_path)
    assert recorder.names == ["1.bin", "3.bin"]
    assert recorder.messages[-1].data == {"files": 2, "rejected": 1, "vanished": 0}
    assert "2-large.bin" in caplog.text
    assert "4294967296 bytes, expected less than 4 GiB" in caplog.text


def test_a_name_that_is_no_text_is_rejected(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.bin")).write_bytes(b"content")
    write(tmp_path / "good.bin")
    recorder = read_all(tmp_path)
    assert recorder.names == ["good.bin"]
    assert recorder.messages[-1].data["rejected"] == 1


def test_a_file_deleted_before_it_is_read_is_counted(tmp_path):
    for name, mtime_s in [("a", 1), ("b", 2), ("c", 3)]:
        write(tmp_path / name, mtime_s=mtime_s)
    recorder = Files(lambda event: (tmp_path / "b").unlink(missing_ok=True))
    listener = DirectoryListener(
        recorder, str(tmp_path), settle_s=0, poll_s=0.001, stop_after_idle_s=0
    )
    listener.open()
    listener.start()
    assert recorder.names == ["a", "c"]
    assert recorder.messages[-1].data == {"files": 2, "rejected": 0, "vanished": 1}


def test_files_that_come_later_are_reported_once(tmp_path):
    write(tmp_path / "a")
    with watching(tmp_path) as recorder:
        for name in ("b", "c"):
            write(tmp_path / name)
            recorder.wait_until(lambda name=name: name in recorder.names)
    assert recorder.names == ["a", "b", "c"]
    assert recorder.messages[-1].data["files"] == 3


def test_a_file_that_grows_waits_until_it_is_complete(tmp_path):
    with watching(tmp_path, settle_s=0.5) as recorder:
        with (tmp_path / "slow").open("wb") as file:
            started_s = last_s = time.monotonic()
            while last_s < started_s + 0.2:
                last_s = time.monotonic()  # before: the listener may look at once
                file.write(b"x" * 100)
                file.flush()
        recorder.wait_until(lambda: recorder.names)
        assert time.monotonic() - last_s >= 0.5
    size = (tmp_path / "slow").stat().st_size
    assert recorder.messages[1].metadata["size"] == len(recorder.messages[1].payload) == size


def test_what_is_there_can_be_left_out(tmp_path):
    write(tmp_path / "old")
    with watching(tmp_path, existing=False) as recorder:
        write(tmp_path / "new")
        recorder.wait_until(lambda: recorder.names)
    assert recorder.names == ["new"]


def test_a_pattern_chooses_and_two_stars_look_into_folders(tmp_path):
    (tmp_path / "scan" / "deep").mkdir(parents=True)
    for name in ("a.tif", "b.txt", "scan/c.tif", "scan/deep/d.tif", ".hidden.tif"):
        write(tmp_path / name)
    (tmp_path / "folder.tif").mkdir()
    assert read_all(tmp_path, "*.tif").names == ["a.tif"]
    assert sorted(read_all(tmp_path, "**/*.tif").names) == ["a.tif", "c.tif", "d.tif"]
    assert read_all(tmp_path, ".*.tif").names == [".hidden.tif"]


def test_the_directory_may_go_away_and_come_back(tmp_path, caplog):
    folder = tmp_path / "images"
    folder.mkdir()
    with watching(folder) as recorder, caplog.at_level(logging.WARNING):
        folder.rename(tmp_path / "away")
        wait_until(lambda: caplog.records)
        write(tmp_path / "away" / "a")
        (tmp_path / "away").rename(folder)
        recorder.wait_until(lambda: recorder.names)
    assert [record.message for record in caplog.records] == [
        f"{folder} can't be listed now: No such file or directory"
    ]


def test_it_finishes_when_idle_for_as_long_as_asked(tmp_path):
    write(tmp_path / "a")
    started_s = time.monotonic()
    assert read_all(tmp_path, stop_after_idle_s=0.2).names == ["a"]
    assert time.monotonic() - started_s >= 0.2


def test_a_data_set_is_read_to_its_end_although_it_has_to_settle(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "empty", b"")
    assert read_all(tmp_path, settle_s=0.05).names == ["a"]


def test_stop_ends_it_between_two_files_with_a_stop_message(tmp_path):
    for name in "abc":
        write(tmp_path / name, mtime_s=1)
    recorder = Files(lambda event: listener.stop())
    listener = DirectoryListener(recorder, str(tmp_path), settle_s=0, poll_s=60)
    listener.open()
    listener.start()
    assert recorder.names == ["a"]
    assert recorder.messages[-1] == Stop({"files": 1, "rejected": 0, "vanished": 0})


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/images can't be listed: No such"):
        DirectoryListener(Recorder(), str(tmp_path / "images")).open()


def test_a_path_that_can_be_none_is_told():
    with pytest.raises(ConfigurationError, match="can't be listed: embedded null byte"):
        DirectoryListener(Recorder(), "images\0").preflight()


def test_a_file_in_place_of_the_directory_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="can't be listed: Not a directory"):
        DirectoryListener(Recorder(), str(write(tmp_path / "a"))).open()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pattern": ""}, "pattern is ''"),
        ({"pattern": "/data/*"}, "pattern is '/data/"),
        ({"pattern": "../*"}, "pattern is '../"),
        ({"read": "image"}, "read is 'image'"),
        ({"settle_s": -1}, "times can't be negative"),
        ({"poll_s": 0}, "times can't be negative"),
        ({"stop_after_idle_s": -1}, "times can't be negative"),
    ],
)
def test_wrong_options_are_refused_in_words(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        DirectoryListener(Recorder(), "images", **options)


def test_without_tifffile_it_says_what_to_install(tmp_path):
    program = """if True:
        import sys
        sys.modules["tifffile"] = None
        from arroyo.connectors.directory_watch import DirectoryListener
        from arroyo.errors import ConfigurationError, UnavailableError
        assert "numpy" not in sys.modules
        DirectoryListener(None, ".", "*.npy", read="array").open()
        try:
            DirectoryListener(None, ".", read="array").open()
        except ConfigurationError as error:
            print(error)
        """
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert 'needs tifffile, which is not installed: pip install "arroyo[images]"' in done.stdout


def live(directory, state, *, finish=None, at_event=lambda listener, event: None, **options):
    """One life with a journal; the first `finish` files are acknowledged, all by default."""
    recorder = Files(lambda event: at_event(listener, event))
    options = {"settle_s": 0, "poll_s": 0.001, "stop_after_idle_s": 0} | options
    listener = DirectoryListener(recorder, str(directory), **options)
    listener.state_directory = state
    listener.open()
    listener.start()
    for token in recorder.tokens[:finish]:
        listener.acknowledge(token)
    listener.close()
    return recorder


@pytest.fixture
def folders(tmp_path):
    """A directory of three files, and one for the journal."""
    images, state = tmp_path / "images", tmp_path / "state"
    images.mkdir()
    state.mkdir()
    for mtime_s, name in enumerate("abc"):
        write(images / name, mtime_s=mtime_s)
    return images, state


def test_what_was_acknowledged_is_not_reported_by_the_next_life(folders):
    images, state = folders
    assert live(images, state).names == ["a", "b", "c"]
    write(images / "d")
    assert live(images, state).names == ["d"]


def test_what_was_in_flight_comes_first_in_its_old_order_with_its_old_tokens(folders):
    images, state = folders
    first = live(images, state, finish=1).tokens
    write(images / "older", mtime_s=0)
    again = live(images, state, finish=0)
    assert again.names == ["b", "c", "older"]
    assert again.tokens == [*first[1:], first[2] + 1]
    assert live(images, state).tokens == again.tokens


def test_what_was_in_flight_and_is_gone_or_another_one_is_counted(folders):
    images, state = folders
    first = live(images, state, finish=0).tokens
    (images / "a").unlink()
    write(images / "b", b"another content", mtime_s=9)
    again = live(images, state, finish=0)
    assert again.names == ["c", "b"]
    assert again.tokens == [first[2], first[2] + 1]
    assert again.messages[-1].data == {"files": 2, "rejected": 0, "vanished": 2}
    assert live(images, state).messages[-1].data["vanished"] == 0


def test_a_file_that_was_made_anew_while_nobody_watched_is_a_new_one(folders):
    images, state = folders
    live(images, state)
    (images / "b").unlink()
    write(images / "b", mtime_s=20)
    assert live(images, state).names == ["b"]


def test_what_was_left_out_at_the_first_start_stays_out(folders):
    images, state = folders
    assert live(images, state, existing=False).names == []
    write(images / "new")
    assert live(images, state, existing=False).names == ["new"]


def test_another_pattern_has_a_journal_of_its_own(folders):
    images, state = folders
    live(images, state)
    assert live(images, state, pattern="[ab]").names == ["a", "b"]


def test_stopped_before_all_that_was_in_flight_came_again_it_leaves_the_run_open(folders):
    images, state = folders
    live(images, state, finish=0)
    stopped = live(images, state, finish=0, at_event=lambda listener, event: listener.stop())
    assert stopped.names == ["a"]
    assert not isinstance(stopped.messages[-1], Stop)
    assert live(images, state).names == ["a", "b", "c"]


def test_a_journal_that_cannot_be_written_is_named(folders):
    images, state = folders
    state.rmdir()
    with pytest.raises(UnavailableError, match="can't be written: No such file or directory"):
        live(images, state)
