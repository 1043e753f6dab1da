from pathlib import Path

import msgspec
import pytest
from batches import make_batch

from arroyo.codec import Kind, MessageCodec, Returned, Suspect
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Origin, Start, Stop
from arroyo.protocol.values.deliveries import origins_of
from arroyo.runner.quarantine.returnable import require_message
from arroyo.runner.quarantine.store import ENTRIES_MAX, Quarantine, entry_id
from arroyo.runner.quarantine.writer import (
    KEPT_INPUTS,
    STREAK_MESSAGES,
    QuarantineWriter,
    StageBrokenError,
)
from arroyo.runner.user_code.error_policy import LOGGED_ERRORS
from arroyo.testing import FakeClock

CODEC = MessageCodec(())
BATCH = make_batch(base=1, ranges=((3, 5),))


@pytest.fixture
def quarantine(tmp_path):
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


def test_all_about_a_message_that_raised_is_kept(quarantine):
    quarantine.put(event(2), raised(), 3)
    (entry,) = quarantine.store.entries()
    assert (entry.stage, entry.replica, entry.key) == ("work", 1, "src.0/run/2")
    assert entry.reason == "raised ValueError: no beam"
    assert "in raised" in entry.stack
    assert (entry.attempts, entry.enters, entry.type) == (3, "work", "Event")
    kept = CODEC.unpack(quarantine.store.message(entry.id))
    assert (kept.metadata, bytes(kept.payload)) == ({"index": 2}, b"payload")


def test_input_that_was_refused_is_kept_once_and_is_no_message_that_can_be_sent_again(quarantine):
    for _ in range(2):
        quarantine.put_input([b"frames", memoryview(b"[1,")], "message 7", "no JSON")
    (entry,) = quarantine.store.entries()
    assert (entry.stage, entry.replica, entry.key) == ("work", 1, "message 7")
    assert entry.reason == "refused: no JSON"
    assert msgspec.msgpack.decode(quarantine.store.message(entry.id)) == [b"frames", b"[1,"]
    assert list(quarantine.counted) == [0], "it is counted as rejected"
    with pytest.raises(UsageError, match="it could not be read"):
        require_message(entry)


def fill(folder, messages):
    """Put messages of others there, of which nothing but the number counts."""
    for number in range(messages):
        (folder / f"other{number}.msg").touch()


def test_of_much_refused_input_the_first_is_kept_while_there_is_plenty_of_room(
    quarantine, tmp_path
):
    fill(tmp_path, ENTRIES_MAX // 2 - 5)
    for number in range(20):
        quarantine.put_input([b"%d" % number], "", "no JSON")
    kept = {quarantine.store.message(each.id) for each in quarantine.store.entries()}
    assert kept == {msgspec.msgpack.encode([b"%d" % number]) for number in range(5)}


def test_of_much_refused_input_the_first_is_kept_even_if_there_is_room_for_more(quarantine):
    for number in range(KEPT_INPUTS + 5):
        quarantine.put_input([b"%d" % number], "", "no JSON")
    assert quarantine.store.count() == KEPT_INPUTS


def test_whatever_is_told_already_or_too_often_is_in_the_log_only(quarantine, caplog):
    caplog.set_level("INFO")
    quarantine.put(event(2), raised(), 1)
    for number in range(50):
        quarantine.note_readable()
        quarantine.put_frames(make_batch(base=1, ranges=((number, number + 1),)), [b""], raised())
    levels = [each.levelname for each in caplog.records if "is in quarantine" in each.message]
    assert levels == ["INFO", *["WARNING"] * (LOGGED_ERRORS - 1), *["INFO"] * 31]


def test_too_many_in_a_row_are_the_stages_fault_and_stay_in_the_chain(quarantine):
    for number in range(STREAK_MESSAGES):
        quarantine.put(event(number), raised(), 1)
    with pytest.raises(StageBrokenError, match="stage work is broken, not its messages"):
        quarantine.put(event(99), raised(), 1)
    assert len(quarantine.store.entries()) == STREAK_MESSAGES


def test_a_success_between_tells_that_it_is_the_messages(quarantine):
    for number in range(2 * STREAK_MESSAGES):
        quarantine.put(event(number), raised(), 1)
        quarantine.note_success()
    assert len(quarantine.store.entries()) == 2 * STREAK_MESSAGES


def test_frames_that_can_not_be_read_are_kept_as_they_are(quarantine):
    quarantine.put_frames(BATCH, [b"body", memoryview(b"payload")], DecodeError("no list"))
    (entry,) = quarantine.store.entries()
    assert (entry.type, entry.sequence, entry.reason) == ("", 2, "can't be read: no list")
    assert msgspec.msgpack.decode(quarantine.store.message(entry.id)) == [b"body", b"payload"]


def test_a_suspect_is_kept_under_the_stage_that_died_of_it(quarantine):
    suspect = Suspect("work", 3, 7, "src.0", 1, 4, "died of a segmentation fault", "the stack")
    quarantine.put_suspect(BATCH, Event({"index": 3}), suspect, 3)
    (entry,) = quarantine.store.entries()
    assert (entry.stage, entry.replica, entry.sequence, entry.attempts) == ("work", 3, 3, 3)
    assert (entry.reason, entry.stack) == ("died of a segmentation fault", "the stack")
    assert entry.id == entry_id("work", Origin("run", "src.0", 1, 3))


def test_the_start_and_stop_of_its_run_are_kept_with_a_message(quarantine):
    control = make_batch(base=1, kind=Kind.START, ranges=((0, 1),))
    quarantine.note_control(control, [Start({"gain": 2})])
    quarantine.put(event(2), raised(), 1)
    quarantine.note_control(msgspec.structs.replace(control, kind=Kind.STOP), [Stop({"n": 3})])
    found = quarantine.store.runs.find("work", "src.0", "run")
    assert (CODEC.unpack(found.start), CODEC.unpack(found.stop)) == (
        Start({"gain": 2}),
        Stop({"n": 3}),
    )


def test_the_stop_of_a_run_without_messages_in_quarantine_is_not_kept(quarantine):
    quarantine.note_control(make_batch(kind=Kind.STOP, ranges=((9, 10),)), [Stop()])
    assert quarantine.store.runs.find("work", "src.0", "run") == (b"", b"", 0)


def test_people_are_warned_when_the_quarantine_is_half_full_and_nearly_full(
    quarantine, tmp_path, caplog
):
    for others, own in ((495, range(10)), (885, range(10, 20))):
        fill(tmp_path, others)
        for number in own:
            quarantine.put(event(number), raised(), 1)
            quarantine.note_success()
    said = [record.message for record in caplog.records if "% full" in record.message]
    assert [words.split(":")[0] for words in said] == [
        "the quarantine is 50 % full (500 messages, 0 MiB)",
        "the quarantine is 90 % full (900 messages, 0 MiB)",
    ]
    assert "arroyo quarantine list saxs" in said[0]


def test_a_message_that_has_come_back_and_fails_again_is_the_same_entry(quarantine):
    quarantine.put(event(2), raised(), 1)
    (entry,) = quarantine.store.entries()
    quarantine.store.requeue(entry.id)
    returned = Returned("run", 1, 2, path=0)
    again = make_batch(base=50, ranges=((57, 58),), enters="work", returned=returned)
    message = Event({"index": 2})
    message._origin = origins_of(again)(57, ())
    quarantine.put(message, raised(), 1)
    assert [each.id for each in quarantine.store.entries()] == [entry.id]
    assert quarantine.store.requeued() == []
