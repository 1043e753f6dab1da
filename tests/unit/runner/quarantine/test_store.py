import os
import stat
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lossy_disk import LossyDisk, lay_out, standing_in
from quarantine_entries import make_entry
from small_disk import small_files

from arroyo.codec import MessageCodec
from arroyo.errors import ConfigurationError, UnavailableError, UsageError
from arroyo.messages import Event, Message, Origin
from arroyo.runner.quarantine.store import BYTES_MAX, ENTRIES_MAX, Quarantine, entry_id, outline


def entry(number, **changes):
    place = {"time": 100.0 + number, "sequence": number, "key": f"src.0/run/{number}"}
    origin = Origin("run", "src.0", 1, number)
    return make_entry(entry_id("work", origin), **place | changes)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "quarantine"


@pytest.fixture
def store(folder):
    return Quarantine(folder)


def test_nothing_is_in_a_quarantine_that_nobody_has_made(store):
    assert store.entries() == store.requeued() == []


def test_what_is_put_aside_can_be_read_by_anybody_later(store, folder):
    store.put(entry(1), b"message")
    again = Quarantine(folder)
    assert again.entries() == [entry(1)]
    assert again.message(entry(1).id) == b"message"


def test_it_is_private(store, folder):
    store.put(entry(1), b"message")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_same_message_is_one_entry_however_often_it_fails(store):
    store.put(entry(1), b"message")
    store.put(entry(1, attempts=2), b"message")
    assert [each.attempts for each in store.entries()] == [2]


def test_the_oldest_comes_first(store):
    for number in (2, 1, 3):
        store.put(entry(number), b"")
    assert [each.sequence for each in store.entries()] == [1, 2, 3]


def test_what_one_stage_failed_on_is_found(store):
    for number, stage in ((1, "work"), (2, "write"), (3, "work")):
        store.put(entry(number, stage=stage), b"message")
    assert store.of_stage("work") == [entry(1), entry(3)]
    with pytest.raises(UsageError, match="no message of a stage 'wrok'"):
        store.of_stage("wrok")


def test_what_is_wanted_back_waits_for_its_source_and_is_gone_when_it_is_finished(store, tmp_path):
    store.put(entry(1), b"message")
    store.requeue(entry(1).id)
    assert store.entries() == []
    assert store.requeued("other.0") == []
    assert store.requeued("src.0") == [entry(1)]
    store.requeue(entry(1).id)  # twice is once
    store.finish(entry(1).id)
    assert store.requeued() == []
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


def test_what_can_not_be_sent_is_taken_back(store):
    store.put(entry(1), b"message")
    store.requeue(entry(1).id)
    store.take_back(entry(1).id)
    assert store.entries() == [entry(1)]


def test_what_fails_again_under_its_old_name_is_not_lost_when_the_former_try_ends(store):
    store.put(entry(1), b"message")
    store.requeue(entry(1).id)
    store.put(entry(1, attempts=2), b"message")
    store.finish(entry(1).id)
    assert [each.attempts for each in store.entries()] == [2]
    assert store.message(entry(1).id) == b"message"


def test_what_is_dropped_is_gone_wherever_it_was(store):
    for number in (1, 2):
        store.put(entry(number), b"message")
    store.requeue(entry(2).id)
    for number in (1, 2):
        store.drop(entry(number).id)
    assert store.entries() == store.requeued() == []


@pytest.mark.parametrize("act", [Quarantine.find, Quarantine.requeue])
def test_an_unknown_id_is_a_mistake_of_the_user(store, act):
    with pytest.raises(UsageError, match="no message 'cafe'"):
        act(store, "cafe")


def test_a_full_one_takes_no_more_and_loses_nothing(store, folder):
    for number in (1, 2):
        store.put(entry(number), b"message")
    for number in range(ENTRIES_MAX - 2):
        (folder / f"{number}.msg").touch()
    with pytest.raises(UnavailableError, match=f"is full: {ENTRIES_MAX} messages"):
        store.put(entry(3), b"message")
    store.put(entry(2), b"message")  # it is there already
    assert len(store.entries()) == 2


def test_it_has_a_bound_in_bytes(store, folder):
    store.put(entry(1), b"12345678")
    os.truncate(folder / f"{entry(1).id}.msg", BYTES_MAX)  # which takes no room on the disk
    with pytest.raises(UnavailableError, match="is full"):
        store.put(entry(2), b"12345678")


def test_what_is_dropped_while_room_is_looked_for_takes_none(store, folder):
    store.put(entry(1), b"message")
    (folder / "gone.msg").symlink_to("nowhere")
    store.put(entry(2), b"message")
    assert len(store.entries()) == 2


def test_a_folder_that_can_not_be_written_is_said_and_leaves_no_half_entry(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="can't be put into quarantine"):
        Quarantine(tmp_path / "file").put(entry(1), b"message")


def test_half_a_write_is_no_entry(store, folder):
    with small_files(1000), pytest.raises(UnavailableError, match="File too large"):
        store.put(entry(1), bytes(2000))
    assert store.entries() == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


RUN = ("work", "src.0", "run")
START = b"start"


def message(number):
    return bytes([number]) * 20


class Keeper:
    """Puts messages aside, wants them back and drops them, and knows what was promised."""

    def __init__(self, folder):
        self._store = Quarantine(folder)
        self._number_of_puts = 0
        self.kept = {}
        """By number of the message: the tries that its entry may tell of."""
        self._requeued = set()

    def do(self, what, number):
        if what == "put":
            self._put(number)
        elif what == "requeue" and number in self.kept:
            self._store.requeue(entry(number).id)
            self._requeued.add(number)
        elif what == "finish" and number in self._requeued:
            self._forget(number)
            self._store.finish(entry(number).id)
        elif what == "drop" and number in self.kept:
            self._forget(number)
            self._store.drop(entry(number).id)

    def _put(self, number):
        self._number_of_puts += 1
        before = self.kept.get(number, ())
        self.kept |= {number: (*before, self._number_of_puts)} if before else {}
        attempts = {"attempts": self._number_of_puts}
        self._store.put(entry(number, **attempts), message(number), START)
        self.kept[number] = (self._number_of_puts,)
        self._requeued.discard(number)

    def _forget(self, number):
        self._requeued.discard(number)
        del self.kept[number]


class Crash(NamedTuple):
    """What is left where the process dies, or the machine, and what was promised by then."""

    after_kill: dict[str, bytes]
    after_power_cut: dict[str, bytes]
    kept: dict[int, tuple[int, ...]]


def live(folder, script, *, seed=0, **faults):
    """Carry out a script on a disk with these faults; return disk, crashes, and what is kept."""
    folder.mkdir(mode=0o700, parents=True)
    random, crashes = Random(seed), []

    def crash():
        left = disk.after_kill(), disk.after_power_cut(random)
        crashes.append(Crash(*left, dict(keeper.kept)))

    disk = LossyDisk(folder, crash, **faults)
    keeper = Keeper(folder)
    with standing_in(disk):
        for step in script:
            try:
                keeper.do(*step)
            except (OSError, UnavailableError):
                break
    crash()
    return disk, crashes, keeper.kept


def assert_kept(folder, kept):
    """Whatever is kept is there, whole, with the Start of its run until the last one is dropped."""
    store = Quarantine(folder)
    found = {each.id: each.attempts for each in store.requeued() + store.entries()}
    for number, attempts in kept.items():
        assert found[entry(number).id] in attempts
        assert store.message(entry(number).id) == message(number)
        assert store.runs.find(*RUN).start == START
        store.drop(entry(number).id)


def put_everything(folder):
    store = Quarantine(folder)
    for number in NUMBERS:
        store.put(entry(number), message(number), START)


NUMBERS = range(3)
steps = st.tuples(
    st.sampled_from(["put", "put", "requeue", "finish", "drop"]), st.sampled_from(NUMBERS)
)
EVERYTHING = [("put", 0), ("put", 1), ("requeue", 0), ("put", 0), ("requeue", 1), ("finish", 1)]


@settings(deadline=None)
@given(script=st.lists(steps, min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_at_every_crash_point_what_was_put_aside_is_there(script, seed):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        _, crashes, _ = live(folder / "state" / "quarantine", script, seed=seed)
        for number, crash in enumerate(crashes):
            for how, left in [("kill", crash.after_kill), ("power cut", crash.after_power_cut)]:
                found = lay_out(folder / f"{number} {how}" / "quarantine", left)
                assert_kept(found, crash.kept)
                put_everything(found)
                assert not list(found.glob("*.draft"))


def test_whichever_call_fails_what_was_put_aside_is_there(tmp_path):
    disk, _, _ = live(tmp_path / "whole" / "quarantine", EVERYTHING)
    for fail_at in range(disk.calls):
        folder = tmp_path / str(fail_at)
        disk, crashes, kept = live(folder / "quarantine", EVERYTHING, seed=fail_at, fail_at=fail_at)
        assert_kept(disk.folder, kept)
        assert_kept(lay_out(folder / "power cut", crashes[-1].after_power_cut), kept)


def test_however_full_the_disk_is_what_was_put_aside_is_there_and_no_draft(tmp_path):
    for room_bytes in range(0, 2500, 101):
        folder = tmp_path / str(room_bytes) / "quarantine"
        disk, _, kept = live(folder, EVERYTHING, room_bytes=room_bytes)
        assert_kept(disk.folder, kept)
        assert not list(disk.folder.rglob("*.draft"))
    assert kept == {0: (3,)}


def test_each_changed_byte_of_a_message_is_found(store, folder):
    store.put(entry(1), b"message")
    path = folder / f"{entry(1).id}.msg"
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(UnavailableError, match="is gone or damaged"):
            store.message(entry(1).id)


@pytest.mark.parametrize("content", ["", "{", '{"id": "of another version"}'])
def test_an_entry_that_says_nothing_is_told_of(store, folder, content):
    store.put(entry(1), b"message")
    (folder / f"{entry(1).id}.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"json says nothing of its message \("):
        store.entries()


def test_an_event_is_outlined_without_its_payload():
    packed = MessageCodec(()).pack(Event({"index": 1}, bytes(40_000), "<f4", (100, 100)))
    assert outline(packed) == {
        "metadata": {"index": 1},
        "payload_bytes": 40_000,
        "dtype": "<f4",
        "shape": [100, 100],
    }


class Reading(Message):
    value: float


def test_messages_of_users_and_frames_are_outlined_as_far_as_can_be():
    assert outline(MessageCodec((Reading,)).pack(Reading(1.5))) == {"fields": [1.5]}
    assert outline(msgspec.msgpack.encode([b"abc", b"d"])) == {"frame_bytes": [3, 1]}
    assert outline(b"\xc1") == {"bytes": 1}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"\x91" * 100_000, {"bytes": 100_000}),
        (b"\x81\x01\x02", {"bytes": 3}),
        (msgspec.msgpack.encode([1, 2]), {"bytes": 3}),
        (
            msgspec.msgpack.encode(["Event", {}, None, "<u2", [1]]),
            {"fields": [{}, None, "<u2", [1]]},
        ),
        (b"\x92\xa7Reading\x81\x90\x01", {"fields": [{(): 1}]}),
    ],
    ids=["deep", "table", "numbers", "odd event", "odd key"],
)
def test_so_is_what_nobody_could_read(message, told):
    assert outline(message) == told
