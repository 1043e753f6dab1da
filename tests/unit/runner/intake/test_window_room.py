from arroyo.codec import Kind
from arroyo.config.graph import Stage
from arroyo.runner.intake.waiting_batches import WaitingBatches
from arroyo.runner.intake.window_batch import WindowBatch, WindowRun
from arroyo.runner.intake.window_room import WindowRoom


def make_room(**settings):
    return WindowRoom(Stage(name="source", role="listener", target="own:Source", **settings))


def waiting(*items):
    batches = WaitingBatches()
    batch = batches.begin(WindowBatch(Kind.EVENTS, WindowRun(), None))
    for item in items:
        batch.add(item, len(item), None, None)
    return batches


def test_messages_and_bytes_are_both_limited():
    room = make_room(window=2, window_bytes=10)
    room.add(1, 4)
    assert room.left == (1, 6)
    assert room.fits(6)
    assert not room.fits(7)
    room.add(1, 1)
    assert not room.fits(1)


def test_an_empty_window_takes_what_is_larger():
    assert make_room(window=2, window_bytes=10).fits(11)


def test_there_is_room_for_many_when_an_eighth_is_free():
    room = make_room(window=16, window_bytes=1600)
    room.add(16, 1600)
    room.release(1, 200)
    assert not room.is_roomy
    room.release(1, 0)
    assert room.is_roomy


def test_much_is_in_it_when_a_quarter_of_messages_or_of_bytes_is_taken():
    room = make_room(window=20, window_bytes=80)
    room.add(4, 19)
    assert not room.is_busy
    room.add(0, 1)
    assert room.is_busy
    room.release(0, 20)
    assert not room.is_busy
    room.add(1, 0)
    assert room.is_busy


def test_a_few_messages_are_not_much():
    room = make_room(window=3, window_bytes=80)
    room.add(3, 80)
    assert not room.is_busy


def test_what_nobody_handed_over_is_released_as_well():
    room = make_room(window=2, window_bytes=10)
    room.release(1, 5)
    assert room.left == (2, 10)


def test_all_that_waits_may_be_sent_unless_the_oldest_is_to_be_dropped():
    items = [b"ab"] * 4
    for when_full, count in (("block", 4), ("drop-oldest", 2)):
        room = make_room(window=4, window_bytes=100, when_full=when_full)
        room.add(4, 8)
        assert room.sendable(waiting(*items)) == count
        assert room.sendable(WaitingBatches()) == 0
