from pathlib import Path

import msgspec
import pytest
from batches import make_batch

from arroyo.codec import Kind, MessageCodec, Returned, Suspect
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Origin, Start, Stop
from arroyo.protocol.values.deliveries import origins_of
from arroyo.runner.quarantine.failure_streak import STREAK_MESSAGES
from arroyo.runner.quarantine.store import Quarantine, entry_id
from arroyo.runner.quarantine.writer import QuarantineWriter, StageBrokenError
from arroyo.runner.user_code.trials import LOGGED_ERRORS
from arroyo.testing import FakeClock

CODEC = MessageCodec(())
BATCH = make_batch(base=1, ranges=((3, 5),))


@pytest.fixture
def isolation(tmp_path):
    chain = Chain("saxs", Path("/"), Path("/chain.toml"), {})
    return QuarantineWriter(Quarantine(tmp_path), chain, ReplicaName("work", 1), CODEC, FakeClock())


def event(number):
    made = Event({"index": number}, b"payload")
    made._origin = Origin("run", "src.0", 1, number)
    return made


def raised():
    try:
        raise ValueError("no beam")
    except ValueError as error:
        return error


def test_all_about_a_message_that_raised_is_kept(isolation):
    isolation.put(event(2), raised(), 3)
    (entry,) = isolation.store.entries()
    assert (entry.stage, entry.replica, entry.key) == ("work", 1, "src.0/run/2")
    assert entry.reason == "raised ValueError: no beam"
    assert "in raised" in entry.stack
    assert (entry.attempts, entry.enters, entry.type) == (3, "work", "Event")
    kept = CODEC.unpack(isolation.store.message(entry.id))
    assert (kept.metadata, bytes(kept.payload)) == ({"index": 2}, b"payload")


def test_whatever_is_told_already_or_too_often_is_in_the_log_only(isolation, caplog):
    caplog.set_level("INFO")
    isolation.put(event(2), raised(), 1)
    for number in range(50):
        isolation.note_readable()
        isolation.put_frames(make_batch(base=1, ranges=((number, number + 1),)), [b""], raised())
    levels = [each.levelname for each in caplog.records if "is in quarantine" in each.message]
    assert levels == ["INFO", *["WARNING"] * (LOGGED_ERRORS - 1), *["INFO"] * 31]


def test_too_many_in_a_row_are_the_stages_fault_and_stay_in_the_chain(isolation):
    for number in range(STREAK_MESSAGES):
        isolation.put(event(number), raised(), 1)
    with pytest.raises(StageBrokenError, match="stage work is broken, not its messages"):
        isolation.put(event(99), raised(), 1)
    assert len(isolation.store.entries()) == STREAK_MESSAGES


def test_a_success_between_tells_that_it_is_the_messages(isolation):
    for number in range(2 * STREAK_MESSAGES):
        isolation.put(event(number), raised(), 1)
        isolation.note_success()
    assert len(isolation.store.entries()) == 2 * STREAK_MESSAGES


def test_frames_that_can_not_be_read_are_kept_as_they_are(isolation):
    isolation.put_frames(BATCH, [b"body", memoryview(b"payload")], DecodeError("no list"))
    (entry,) = isolation.store.entries()
    assert (entry.type, entry.sequence, entry.reason) == ("", 2, "can't be read: no list")
    assert msgspec.msgpack.decode(isolation.store.message(entry.id)) == [b"body", b"payload"]


def test_a_suspect_is_kept_under_the_stage_that_died_of_it(isolation):
    suspect = Suspect("work", 3, 7, "src.0", 1, 4, "died of a segmentation fault", "the stack")
    isolation.put_suspect(BATCH, Event({"index": 3}), suspect, 3)
    (entry,) = isolation.store.entries()
    assert (entry.stage, entry.replica, entry.sequence, entry.attempts) == ("work", 3, 3, 3)
    assert (entry.reason, entry.stack) == ("died of a segmentation fault", "the stack")
    assert entry.id == entry_id("work", Origin("run", "src.0", 1, 3))


def test_the_start_and_stop_of_its_run_are_kept_with_a_message(isolation):
    control = make_batch(base=1, kind=Kind.START, ranges=((0, 1),))
    isolation.note_control(control, [Start({"gain": 2})])
    isolation.put(event(2), raised(), 1)
    isolation.note_control(msgspec.structs.replace(control, kind=Kind.STOP), [Stop({"n": 3})])
    found = isolation.store.runs.find("work", "src.0", "run")
    assert (CODEC.unpack(found.start), CODEC.unpack(found.stop)) == (
        Start({"gain": 2}),
        Stop({"n": 3}),
    )


def test_the_stop_of_a_run_without_messages_in_quarantine_is_not_kept(isolation):
    isolation.note_control(make_batch(kind=Kind.STOP, ranges=((9, 10),)), [Stop()])
    assert isolation.store.runs.find("work", "src.0", "run") == (b"", b"", 0)


def test_people_are_warned_when_the_quarantine_is_half_full_and_nearly_full(
    isolation, monkeypatch, caplog
):
    monkeypatch.setattr("arroyo.runner.quarantine.store.ENTRIES_MAX", 20)
    for number in range(20):
        isolation.put(event(number), raised(), 1)
        isolation.note_success()
    said = [record.message for record in caplog.records if "% full" in record.message]
    assert [words.split(":")[0] for words in said] == [
        "the quarantine is 50 % full (10 messages, 0 MiB)",
        "the quarantine is 90 % full (18 messages, 0 MiB)",
    ]
    assert "arroyo quarantine list saxs" in said[0]


def test_a_message_that_has_come_back_and_fails_again_is_the_same_entry(isolation):
    isolation.put(event(2), raised(), 1)
    (entry,) = isolation.store.entries()
    isolation.store.requeue(entry.id)
    returned = Returned("run", 1, 2, path=0)
    again = make_batch(base=50, ranges=((57, 58),), enters="work", returned=returned)
    message = Event({"index": 2})
    message._origin = origins_of(again)(57, ())
    isolation.put(message, raised(), 1)
    assert [each.id for each in isolation.store.entries()] == [entry.id]
    assert isolation.store.requeued() == []
