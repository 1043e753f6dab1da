import os
import stat

import msgspec
import pytest
from quarantine_entries import make_entry
from small_disk import small_files

from arroyo.codec import MessageCodec
from arroyo.errors import UnavailableError, UsageError
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
