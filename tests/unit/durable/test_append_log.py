"""Whatever happens between any two system calls, the next life reads what it was promised."""

import errno
import itertools
import os
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lossy_disk import LossyDisk, lay_out, standing_in

from arroyo.durable.append_log import AppendLog
from arroyo.durable.frames import HEAD_BYTES, FileKind, pack_frame
from arroyo.errors import ConfigurationError

KIND = FileKind(b"TEST", 1)
COMPACT_BYTES = 150
COMPACTION_CALLS = 5
"""Of open, write, fsync, rename, and the fsync of the folder."""

entries = st.binary(max_size=60)
lives = st.lists(st.lists(entries, max_size=6), min_size=1, max_size=3)
seeds = st.integers(0, 2**32)


class Entries(msgspec.Struct):
    """Everything that was ever added."""

    all: list[bytes] = []

    def apply(self, entry):
        self.all.append(entry)


def open_log(folder, *, sync=True):
    return AppendLog(
        folder / "log",
        KIND,
        Entries,
        bytes,
        empty=Entries,
        sync=sync,
        compact_bytes=COMPACT_BYTES,
    )


def read(folder):
    return open_log(folder).state.all


class Writer:
    """Adds to a log, life after life, and keeps what was promised."""

    def __init__(self, folder, *, sync=True):
        self._folder, self._sync = folder, sync
        self.added = []
        self.failed = False
        self.sure = 0
        """So many entries are on the disk."""

    def live(self, entries):
        log = open_log(self._folder, sync=self._sync)
        begun = False
        try:
            log.compact()
            begun = True
            inode = self._found(-1)
            for entry in entries:
                log.append(entry)
                self.added.append(entry)
                inode = self._found(inode)
        except OSError:
            self.failed = True
        if self.failed and begun:
            for _ in range(2):
                with pytest.raises(OSError, match=r"error|space"):
                    log.append(b"behind the one that failed")
        log.close()

    def _found(self, before):
        inode = (self._folder / "log").stat().st_ino
        if inode != before:
            self.sure = len(self.added)
        return inode


class Crash(NamedTuple):
    """What is left where the process dies, or the machine, and what was promised by then."""

    after_kill: dict[str, bytes]
    after_power_cut: dict[str, bytes]
    added: int
    sure: int


def run(folder, script, *, sync=True, seed=0, **faults):
    """Have a writer live those lives on a disk with these faults.

    Returns the writer, the disk, and what is left by a crash at each point.
    """
    folder.mkdir()
    random = Random(seed)
    writer = Writer(folder, sync=sync)
    crashes = []

    def crash():
        left = disk.after_kill(), disk.after_power_cut(random)
        crashes.append(Crash(*left, len(writer.added), writer.sure))

    disk = LossyDisk(folder, crash, **faults)
    with standing_in(disk):
        for entries in script:
            writer.live(entries)
    crash()
    return writer, disk, crashes


@pytest.fixture
def folders():
    """Folders that are not there yet."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as parent:
        yield (Path(parent, str(number)) for number in itertools.count())


def promised(script, first, last):
    everything = list(itertools.chain(*script))
    return [everything[:count] for count in range(first, min(last, len(everything)) + 1)]


shared = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@shared
@given(script=lives, seed=seeds)
def test_at_every_crash_point_what_was_added_is_read_again(folders, script, seed):
    _, _, crashes = run(next(folders), script, seed=seed)
    for crash in crashes:
        found = read(lay_out(next(folders), crash.after_kill))
        assert found in promised(script, crash.added, crash.added + 1)
        found = read(lay_out(next(folders), crash.after_power_cut))
        assert found in promised(script, crash.sure, crash.added + 1)


@shared
@given(script=lives, seed=seeds)
def test_what_is_not_forced_to_the_disk_a_power_cut_may_take_and_nothing_else(
    folders, script, seed
):
    _, _, crashes = run(next(folders), script, seed=seed, sync=False)
    for crash in crashes:
        found = read(lay_out(next(folders), crash.after_kill))
        assert found in promised(script, crash.added, crash.added + 1)
        found = read(lay_out(next(folders), crash.after_power_cut))
        assert found in promised(script, 0, crash.added + 1)


@shared
@given(script=lives, following=st.lists(entries, min_size=1, max_size=3), seed=seeds)
def test_nothing_is_written_behind_what_a_crash_has_torn_off(folders, script, following, seed):
    _, _, crashes = run(next(folders), script, seed=seed)
    for left in (left for crash in crashes for left in (crash.after_kill, crash.after_power_cut)):
        folder = lay_out(next(folders), left)
        log = open_log(folder)
        before = list(log.state.all)
        for entry in following:
            log.append(entry)
        log.close()
        assert read(folder) == before + following


@shared
@given(entries=st.lists(entries, max_size=8), seed=seeds)
def test_whichever_call_fails_what_was_added_stays(folders, entries, seed):
    _, disk, _ = run(next(folders), [entries])
    for fail_at in range(disk.calls):
        writer, disk, crashes = run(next(folders), [entries], seed=seed, fail_at=fail_at)
        count = len(writer.added)
        assert read(disk.folder) in promised([entries], count, count + writer.failed)
        found = read(lay_out(next(folders), crashes[-1].after_power_cut))
        assert found in promised([entries], writer.sure, count + 1)


@shared
@given(entries=st.lists(entries, max_size=12))
def test_however_full_the_disk_is_what_was_added_stays(folders, entries):
    for room_bytes in range(0, 700, 23):
        writer, disk, _ = run(next(folders), [entries], room_bytes=room_bytes)
        assert read(disk.folder) == writer.added
        assert set(disk.after_kill()) <= {"log"}
        assert writer.failed or writer.added == entries


def test_only_a_compaction_may_fail(folders):
    entries = [bytes(40)] * 5
    writer, disk, _ = run(next(folders), [entries])
    calls = len(entries) + 2 * COMPACTION_CALLS
    assert (disk.calls, writer.failed) == (calls, False)
    failed = [run(next(folders), [entries], fail_at=call)[0].failed for call in range(calls)]
    begin = [True] * COMPACTION_CALLS
    # The last one forces the name of the new file to the disk: the one before can't be added to.
    compaction = [False] * (COMPACTION_CALLS - 1) + [True]
    assert failed == begin + [True] * 3 + compaction + [True] * 2


def test_a_file_that_grows_is_compacted(tmp_path):
    log = open_log(tmp_path)
    for number in range(100):
        log.append(b"%d" % number)
        log.state.all = log.state.all[-1:]
        assert (tmp_path / "log").stat().st_size < 2 * COMPACT_BYTES
    log.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_nobody_else_may_look_into_it(tmp_path):
    log = open_log(tmp_path)
    log.append(b"secret")
    log.close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_first_life_finds_nothing(tmp_path):
    log = open_log(tmp_path)
    assert (log.is_new, log.is_lost, log.damaged) == (True, False, False)
    assert log.state == Entries()


def write(path, *bodies, head=KIND.head):
    path.write_bytes(head + b"".join(map(pack_frame, bodies)))


def later_format():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("arroyo.durable.frames.FORMAT", 2)
        return KIND.head


SNAPSHOT = msgspec.msgpack.encode(Entries([b"a"]))


@pytest.mark.parametrize("head", [KIND._replace(schema=2).head, later_format()])
def test_a_file_of_another_version_is_refused_and_stays(tmp_path, head):
    write(tmp_path / "log", SNAPSHOT, head=head)
    before = (tmp_path / "log").read_bytes()
    with pytest.raises(ConfigurationError, match="log was written by another version of Arroyo"):
        open_log(tmp_path)
    assert (tmp_path / "log").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(100),
        KIND.head,
        KIND.head[:7],
        KIND.head[:8] + bytes(64),
        KIND.head + bytes(64),
        FileKind(b"ELSE", 1).head + pack_frame(SNAPSHOT),
        KIND.head + pack_frame(b"\xc1"),
        KIND.head + pack_frame(b"\x91" * 100_000),
        SNAPSHOT,
    ],
)
def test_a_file_that_says_nothing_is_known_as_lost(tmp_path, content):
    (tmp_path / "log").write_bytes(content)
    log = open_log(tmp_path)
    assert (log.is_new, log.is_lost) == (False, True)
    assert log.state == Entries()


def test_what_stands_before_the_damage_counts(tmp_path):
    write(tmp_path / "log", SNAPSHOT, msgspec.msgpack.encode(b"b"))
    whole = (tmp_path / "log").read_bytes()
    for damage, damaged in [(b"", False), (b"\0\0\0\5\1", False), (bytes(8), True)]:
        (tmp_path / "log").write_bytes(whole + damage)
        log = open_log(tmp_path)
        assert (log.state.all, log.damaged) == ([b"a", b"b"], damaged)


def test_an_entry_that_is_none_ends_the_file(tmp_path):
    write(tmp_path / "log", SNAPSHOT, b"\x07", msgspec.msgpack.encode(b"b"))
    log = open_log(tmp_path)
    assert (log.state.all, log.damaged) == ([b"a"], True)


def test_each_changed_byte_ends_the_file_before_it(tmp_path):
    write(tmp_path / "log", SNAPSHOT, msgspec.msgpack.encode(b"b"))
    whole = (tmp_path / "log").read_bytes()
    snapshot_end = HEAD_BYTES + len(pack_frame(SNAPSHOT))
    for at in range(HEAD_BYTES, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        (tmp_path / "log").write_bytes(changed)
        assert read(tmp_path) == ([] if at < snapshot_end else [b"a"])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "log").mkdir()
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        open_log(tmp_path)
