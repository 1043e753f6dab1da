"""After any crash a file that is replaced holds the value before or the one behind."""

import os
import tempfile
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lossy_disk import LossyDisk, lay_out, standing_in

from arroyo.durable.frames import FileKind, pack_frame
from arroyo.durable.replaced_file import ReplacedFile, set_aside
from arroyo.errors import ConfigurationError

KIND = FileKind(b"TEST", 3)


class Note(msgspec.Struct):
    text: str


notes = st.lists(st.text(max_size=20).map(Note), min_size=1, max_size=4)


def of(path, *, sync=True, **keys):
    return ReplacedFile(path, KIND, Note, sync=sync, **keys)


def run(folder, notes, *, sync=True, seed=0, **faults):
    """Write notes one after the other.

    Returns the disk, the last note that was written, and what a kill and a power cut leave at each
    point, with the notes that may be read there.
    """
    folder.mkdir()
    random, crashes = Random(seed), []
    before = behind = None

    def crash():
        crashes.append((disk.after_kill(), disk.after_power_cut(random), (before, behind)))

    disk = LossyDisk(folder, crash, **faults)
    file = of(folder / "note", sync=sync)
    with standing_in(disk):
        for behind in notes:
            try:
                file.write(behind)
            except OSError:
                break
            before = behind
        crash()
    return disk, before, crashes


@settings(deadline=None)
@given(notes=notes, seed=st.integers(0, 2**32))
def test_at_every_crash_point_there_is_the_value_before_or_the_one_behind(notes, seed):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        _, _, crashes = run(folder / "disk", notes, seed=seed)
        for number, (*left, allowed) in enumerate(crashes):
            for how, files in zip(("kill", "power cut"), left, strict=True):
                found = lay_out(folder / f"{number} {how}", files)
                assert of(found / "note").read() in allowed


@settings(deadline=None)
@given(notes=notes, seed=st.integers(0, 2**32))
def test_what_is_not_forced_to_the_disk_outlasts_a_kill_and_is_never_a_mixture(notes, seed):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        _, _, crashes = run(folder / "disk", notes, sync=False, seed=seed)
        for number, (killed, cut, allowed) in enumerate(crashes):
            found = lay_out(folder / f"{number} kill", killed)
            assert of(found / "note").read() in allowed
            found = lay_out(folder / f"{number} power cut", cut)
            assert of(found / "note").read() in (None, *notes)


@pytest.mark.parametrize("fail_at", range(5))
def test_a_call_that_fails_leaves_one_of_both_and_no_draft(tmp_path, fail_at):
    of(tmp_path / "before").write(Note("first"))
    calls = run(tmp_path / "whole", [Note("first")])[0].calls
    assert calls == 5
    disk, written, _ = run(
        tmp_path / "disk", [Note("first"), Note("second")], fail_at=calls + fail_at
    )
    assert written == Note("first")
    # The last call is the one that has the new name on the disk: it has failed, but is there.
    assert of(disk.folder / "note").read() == Note("second" if fail_at == 4 else "first")
    assert os.listdir(disk.folder) == ["note"]


def test_a_full_disk_leaves_the_value_before(tmp_path):
    disk, written, _ = run(tmp_path / "disk", [Note("first"), Note("x" * 99)], room_bytes=100)
    assert written == of(disk.folder / "note").read() == Note("first")
    assert os.listdir(disk.folder) == ["note"]


def test_each_changed_byte_leaves_nothing(tmp_path):
    path = tmp_path / "note"
    of(path).write(Note("text"))
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        assert of(path).read() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(64),
        KIND.head,
        KIND.head + pack_frame(b""),
        KIND.head + pack_frame(b"\x80") * 2,
        FileKind(b"ELSE", 3).head + pack_frame(msgspec.msgpack.encode(Note("text"))),
    ],
)
def test_bytes_that_are_no_value_are_nothing(tmp_path, content):
    (tmp_path / "note").write_bytes(content)
    assert of(tmp_path / "note").read() is None


def test_a_file_of_another_version_is_refused(tmp_path):
    body = pack_frame(msgspec.msgpack.encode(Note("text")))
    (tmp_path / "note").write_bytes(KIND._replace(schema=4).head + body)
    with pytest.raises(ConfigurationError, match=r"it has format 1\.4, expected 1\.3; run the"):
        of(tmp_path / "note").read()


def test_a_file_that_was_removed_is_nothing_and_may_be_removed_again(tmp_path):
    file = of(tmp_path / "note")
    file.write(Note("text"))
    for _ in range(2):
        file.remove()
        assert file.read() is None


def test_nobody_else_may_look_into_it(tmp_path):
    of(tmp_path / "note").write(Note("text"))
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o600


def test_what_is_set_aside_takes_the_place_of_nothing(tmp_path):
    for number in (1, 2):
        (tmp_path / "note").write_text(str(number))
        assert set_aside(tmp_path / "note").read_text() == str(number)
    assert len(os.listdir(tmp_path)) == 2
