from arroyo.connectors.zeromq.send_queue import (
    FIRST_MESSAGES,
    LARGE_BYTES,
    PEER_BYTES,
    TOTAL_BYTES,
    HeldBytes,
    PeerLimit,
)

MIB = 1 << 20


class Tracker:
    done = False


def mark_after(sizes, messages=1000):
    limit = PeerLimit(messages)
    changes = [limit.note(size) for size in sizes]
    return limit.mark, changes.count(True)


def test_the_mark_begins_low():
    assert PeerLimit(1000).mark == FIRST_MESSAGES
    assert PeerLimit(3).mark == 3


def test_small_messages_get_the_mark_that_was_asked_for():
    assert mark_after([100] * 20) == (1000, 1)
    assert mark_after([LARGE_BYTES] * 20) == (1000, 1)


def test_the_largest_of_the_first_messages_decides():
    assert mark_after([100] + [8 * MIB] * 20) == (PEER_BYTES // (8 * MIB), 1)
    assert mark_after([MIB, 2 * MIB] * 10) == (PEER_BYTES // (2 * MIB), 1)


def test_the_mark_is_never_lowered():
    assert mark_after([500 * MIB] * 20)[0] == FIRST_MESSAGES
    assert mark_after([100] * 20 + [500 * MIB] * 20) == (1000, 1)


def test_a_mark_that_is_lower_than_the_first_one_is_kept():
    assert mark_after([100] * 20, messages=1) == (1, 0)
    assert mark_after([100] * 20, messages=0) == (0, 0)
    assert mark_after([100] * 20, messages=5)[0] == 5


def test_the_mark_changes_before_a_queue_can_be_full():
    limit = PeerLimit(1000)
    sent = next(count for count in range(1, 100) if limit.note(1))
    assert sent < FIRST_MESSAGES


def test_there_is_room_until_the_total_is_held_and_again_when_some_is_done():
    held, tracker = HeldBytes(), Tracker()
    held.add(tracker, TOTAL_BYTES - MIB)
    assert held.has_room(MIB)
    assert not held.has_room(MIB + 1)
    tracker.done = True
    assert held.has_room(MIB + 1)


def test_one_payload_has_room_however_large():
    held, tracker = HeldBytes(), Tracker()
    assert held.has_room(2 * TOTAL_BYTES)
    held.add(tracker, 2 * TOTAL_BYTES)
    assert not held.has_room(1)
