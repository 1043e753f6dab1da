import threading
import time

import pytest
from chains import wait_until

from arroyo.codec import DETACH_BYTES, Body, Detached, Kind, MessageCodec, size_of
from arroyo.config.graph import Stage
from arroyo.errors import EncodeError, StageError
from arroyo.messages import Event, Start, Stop
from arroyo.protocol.values.flow_limits import BATCH_MESSAGES
from arroyo.protocol.values.run_totals import RunTotals
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.intake.window_counts import Counts

DEADLINE_S = 60.0


class Wakes:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def gateway(wake=lambda: None, key_field=None, codec=None, **settings):
    stage = Stage(name="count", role="listener", target="own:Count", **settings)
    counts = Counts([0], [0], [0])
    return InputWindow(stage, codec or MessageCodec(()), key_field, wake, counts)


def received(gate):
    """The least and the most that the gateway may have taken, as its words say."""
    least = gate.counts.received[0]
    return least, least + gate.counts.unseen[0]


def indices(intake):
    body = [MessageCodec(()).decode(*parts(item)) for item in intake.items]
    return [message.metadata["index"] for messages in body for message in messages]


def parts(item):
    from arroyo.codec import join

    body, detached, payloads = join([item])
    return body, detached, payloads


def hand_over(gate, numbers):
    for number in numbers:
        gate.process(Event({"index": number}))


def totals_of(intake):
    totals = RunTotals(5)
    intake.make_stop(totals)
    return totals


def test_events_leave_in_batches_and_start_and_stop_alone():
    gate = gateway()
    gate.process(Start())
    hand_over(gate, range(3))
    gate.process(Stop())
    taken = [gate.take() for _ in range(4)]
    assert [intake and intake.kind for intake in taken] == [
        Kind.START,
        Kind.EVENTS,
        Kind.STOP,
        None,
    ]
    assert indices(taken[1]) == [0, 1, 2]


def test_a_full_window_holds_the_listener_until_something_is_finished():
    gate = gateway(window=2)
    hand_over(gate, range(2))
    thread = threading.Thread(target=hand_over, args=(gate, [2]))
    thread.start()
    assert received(gate)[1] == 2
    wait_until(lambda: gate.is_full)
    gate.take()
    gate.release(1, 0)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert received(gate) == (3, 3)
    assert not gate.is_full


def test_a_message_larger_than_the_window_passes_alone():
    gate = gateway(window_bytes=10)
    gate.process(Event({}, bytes(1000)))
    assert gate.take().size >= 1000


def test_the_newest_is_dropped_and_told_in_the_stop_of_its_run():
    gate = gateway(window=3, when_full="drop-newest")
    gate.process(Start())
    hand_over(gate, range(5))
    assert gate.dropped == 3
    gate.take()
    assert indices(gate.take()) == [0, 1]
    gate.release(3, 0)
    gate.process(Stop())
    totals = totals_of(gate.take())
    assert totals.dropped == 3
    assert totals.complete is False


def test_the_oldest_that_waits_is_dropped():
    gate = gateway(window=4, when_full="drop-oldest")
    hand_over(gate, range(4))
    assert indices(gate.take()) == [0, 1]
    assert gate.take() is None
    hand_over(gate, range(4, 7))
    gate.release(2, 0)
    assert indices(gate.take()) == [5, 6]
    assert gate.dropped == 3


@pytest.mark.parametrize(
    ("when_full", "dropped"), [("drop-newest", [2, 3]), ("drop-oldest", [0, 1])]
)
def test_the_payload_of_a_message_that_is_dropped_is_given_back(when_full, dropped):
    codec, given_back = MessageCodec(()), []
    codec.give_back = given_back.extend
    gate = gateway(window=2, when_full=when_full, codec=codec)
    for number in range(4):
        gate.process(Event({"index": number}, bytes([number]) * DETACH_BYTES))
    assert [item.payload[0] for item in given_back] == dropped


def test_what_is_dropped_after_the_next_start_does_not_count_for_the_run_before():
    gate = gateway(window=2, when_full="drop-newest")
    gate.process(Start())
    hand_over(gate, range(4))
    gate.take()
    gate.take()
    gate.release(2, 0)
    gate.process(Stop())
    gate.process(Start())
    hand_over(gate, range(1))
    assert totals_of(gate.take()).dropped == 3


def test_what_is_dropped_of_the_next_run_takes_nothing_from_the_count_of_the_open_one():
    gate = gateway(window=10, when_full="drop-oldest")
    gate.process(Start())
    hand_over(gate, range(2))
    gate.process(Stop())
    gate.process(Start())
    gate.take()
    gate.look_for_end()
    taken = [gate.take() for _ in range(3)]  # the source waits to say Stop
    assert taken[-1].kind is Kind.START
    hand_over(gate, range(2, 20))
    assert gate.dropped > 2
    assert gate.counts.run_end[0] == 1 + 2


def test_bytes_that_wait_and_bytes_in_the_ledger_are_told_apart():
    gate = gateway(window_bytes=400, when_full="drop-oldest")
    gate.process(Event({"index": 0}, bytes(150)))
    gate.process(Event({"index": 1}, bytes(150)))
    first = gate.take()
    assert indices(first) == [0, 1]
    gate.release(2, first.size)
    gate.process(Event({"index": 2}, bytes(150)))
    assert indices(gate.take()) == [2]


def test_a_run_that_is_closed_early_tells_its_own_drops():
    gate = gateway(window=2, when_full="drop-newest")
    gate.process(Start())
    hand_over(gate, range(3))
    gate.take()
    gate.take()
    gate.release(2, 0)
    gate.process(Start())
    gate.take()
    totals = RunTotals(2, complete=False)
    gate.runs.early_stop("another Start came before the Stop")(totals)
    assert totals.dropped == 2


def test_a_run_of_the_life_before_can_be_closed_without_a_word_of_the_listener():
    totals = RunTotals(2)
    gateway().runs.early_stop("the source ended in mid-run")(totals)
    assert totals == RunTotals(2, dropped=0, complete=True)


def test_the_main_thread_is_woken_only_when_it_sleeps():
    wakes = Wakes()
    gate = gateway(wakes)
    hand_over(gate, range(2))
    assert wakes.count == 0
    assert not gate.fall_asleep()
    gate.take()
    assert gate.fall_asleep()
    hand_over(gate, range(2))
    assert wakes.count == 1


def test_what_can_not_travel_is_refused_before_anything_is_sent():
    gate = gateway()
    with pytest.raises(EncodeError):
        gate.process(Event({"thing": object()}))
    assert gate.empty


def test_a_stage_that_has_ended_lets_go_of_a_listener_that_waits():
    gate = gateway(window=1)
    errors = []

    def fill():
        try:
            hand_over(gate, range(2))
        except StageError as error:
            errors.append(str(error))

    thread = threading.Thread(target=fill)
    thread.start()
    gate.shut()
    thread.join(DEADLINE_S)
    assert errors == ["the stage has ended and takes no more messages"]


def test_a_stage_that_has_ended_takes_nothing_though_there_is_room():
    gate = gateway()
    gate.take()
    gate.fall_asleep(whole=True)
    hand_over(gate, [0])  # others may join this one now
    gate.shut()
    with pytest.raises(StageError, match="has ended"):
        hand_over(gate, [1])
    assert indices(gate.take()) == [0]


def test_the_same_value_of_the_key_field_gives_the_same_key():
    gate = gateway(key_field="index")
    hand_over(gate, [1, 2, 1])
    first, second, third = gate.take().keys
    assert first == third != second


def test_a_batch_knows_when_its_first_message_was_handed_over():
    gate = gateway()
    before_ns = time.monotonic_ns()
    hand_over(gate, [0])
    after_ns = time.monotonic_ns()
    hand_over(gate, range(1, BATCH_MESSAGES + 44))
    first, second = gate.take(), gate.take()
    assert before_ns <= first.handed_ns <= after_ns
    assert after_ns < second.handed_ns <= time.monotonic_ns()


def test_both_parts_of_a_batch_know_when_its_first_message_was_handed_over():
    gate = gateway(window=4, when_full="drop-oldest")
    hand_over(gate, range(4))
    first = gate.take()
    gate.release(len(first.items), first.size)
    assert gate.take().handed_ns == first.handed_ns


def test_many_threads_hand_over_each_message_once_and_never_more_than_the_window():
    gate = gateway(window=100)
    threads = [
        threading.Thread(target=hand_over, args=(gate, range(first, first + 500)))
        for first in (0, 500, 1000)
    ]
    for thread in threads:
        thread.start()
    taken = []
    done = threading.Event()
    timer = threading.Timer(DEADLINE_S, done.set)
    timer.start()
    while len(taken) < 1500 and not done.is_set():
        assert received(gate)[1] - len(taken) <= 100
        intake = gate.take()
        if intake is not None:
            assert len(intake.items) <= 100
            taken += indices(intake)
            gate.release(len(intake.items), intake.size)
    timer.cancel()
    for thread in threads:
        thread.join(DEADLINE_S)
    timer.join(DEADLINE_S)
    assert sorted(taken) == list(range(1500))
    assert gate.bytes_in > 0
    assert gate.take() is None


def test_the_message_that_fills_a_batch_wakes_a_main_thread_that_waits_for_it():
    wakes = Wakes()
    gate = gateway(wakes)
    hand_over(gate, range(2))
    assert gate.fall_asleep(whole=True)
    hand_over(gate, range(2, BATCH_MESSAGES - 1))
    assert wakes.count == 0
    hand_over(gate, [BATCH_MESSAGES - 1])
    assert wakes.count == 1
    assert len(gate.take(whole=True).items) == BATCH_MESSAGES


@pytest.mark.parametrize(("size", "leaves"), [(DETACH_BYTES, True), (1, False)])
def test_frames_that_others_could_join_leave_where_those_wait_for_room(size, leaves):
    wakes = Wakes()
    gate = gateway(wakes, window=3)
    hand_over(gate, [0])
    gate.take()
    assert gate.fall_asleep(whole=True)
    messages = [Event({"index": number}, bytes(size)) for number in (1, 2, 3)]
    thread = threading.Thread(target=lambda: [gate.process(each) for each in messages])
    thread.start()
    wait_until(lambda: gate.is_full)
    assert wakes.count == leaves
    taken = gate.take(whole=True)
    assert (None if taken is None else len(taken.items)) == (2 if leaves else None)
    gate.release(3, 3 * DETACH_BYTES)
    thread.join(DEADLINE_S)


def test_the_next_message_wakes_a_main_thread_that_sleeps():
    wakes = Wakes()
    gate = gateway(wakes)
    hand_over(gate, range(2))
    gate.take()
    assert gate.fall_asleep()
    hand_over(gate, range(2, 4))
    assert wakes.count == 1


def test_small_events_become_one_body():
    gate = gateway()
    hand_over(gate, range(3))
    intake = gate.take()
    assert type(intake.items) is Body
    assert intake.size == size_of(intake.items)
    assert indices(intake) == [0, 1, 2]


def test_a_large_event_among_small_ones_keeps_its_place():
    gate = gateway()
    gate.process(Event({"index": 0}), token="a")
    gate.process(Event({"index": 1}, bytes(DETACH_BYTES)))
    gate.process(Event({"index": 2}), token="c")
    intake = gate.take()
    assert [type(item) for item in intake.items] == [bytes, Detached, bytes]
    assert intake.size == sum(map(len, intake.items))
    assert intake.tokens == ["a", None, "c"]


@pytest.mark.parametrize("tokens", ["abcd", "a--d", "--cd", "ab--", "-b-d", "----"])
def test_tokens_stay_with_their_events(tokens):
    tokens = [None if token == "-" else token for token in tokens]
    gate = gateway()
    for index, token in enumerate(tokens):
        gate.process(Event({"index": index}), token=token)
    intake = gate.take()
    assert type(intake.items) is Body
    assert indices(intake) == [0, 1, 2, 3]
    assert intake.tokens == (tokens if any(tokens) else [])


def test_an_event_that_cannot_travel_leaves_no_token():
    gate = gateway()
    for index in range(4):
        if index == 2:
            with pytest.raises(EncodeError):
                gate.process(Event({"cannot": object()}), token="refused")
        gate.process(Event({"index": index}), token=str(index))
    assert gate.take().tokens == ["0", "1", "2", "3"]


def test_a_message_that_cannot_travel_leaves_its_neighbours_as_they_are():
    gate = gateway()
    gate.process(Event({"index": 0}))
    with pytest.raises(EncodeError):
        gate.process(Event({"first": "x" * 1000, "cannot": object()}))
    gate.process(Event({"index": 1}))
    assert indices(gate.take()) == [0, 1]


def test_the_window_counts_the_bytes_of_messages_that_travel_in_one_piece():
    gate = gateway(window_bytes=100_000, when_full="drop-newest")
    for index in range(200):
        gate.process(Event({"index": index}, bytes(1000)))
    assert gate.bytes_in <= 100_000
    assert received(gate) == (200 - gate.dropped, 200 - gate.dropped)
    assert gate.bytes_in + 1100 > 100_000


def ended_at(gate):
    """How many messages the open run has, as far as the listener has ended it."""
    return gate.counts.run_end[0] - 1 if gate.counts.run_end[0] else None


def test_nothing_is_unseen_while_the_main_thread_sleeps():
    gate = gateway()
    for count in range(3):
        assert gate.fall_asleep()
        assert received(gate) == (count, count)
        hand_over(gate, [count])
        gate.take()


def test_what_joins_a_batch_unseen_is_within_the_bound_and_counted_when_it_is_taken():
    gate = gateway()
    hand_over(gate, range(10))
    least, most = received(gate)
    assert least <= 10 <= most < least + BATCH_MESSAGES
    gate.take()
    assert received(gate) == (10, 10)


def test_a_listener_that_waits_has_been_counted():
    gate = gateway(window=10)
    thread = threading.Thread(target=hand_over, args=(gate, range(11)))
    thread.start()
    gate.take()
    assert received(gate)[1] <= 10
    gate.release(10, 0)
    thread.join(DEADLINE_S)
    gate.take()
    assert received(gate) == (11, 11)


def test_what_was_dropped_for_later_messages_does_not_count():
    gate = gateway(window=4, when_full="drop-oldest")
    gate.process(Start())
    hand_over(gate, range(2))
    gate.process(Stop())
    assert (received(gate), ended_at(gate)) == ((2, 2), 0)
    gate.take()
    gate.release(1, 0)
    gate.look_for_end()
    assert ended_at(gate) == 2
    hand_over(gate, range(3))  # one more than there is room for
    assert gate.dropped == 2
    assert (received(gate), ended_at(gate)) == ((3, 3), 0)


def test_the_end_of_the_open_run_is_told_once_the_listener_has_said_it():
    gate = gateway()
    gate.process(Start())
    gate.take()
    gate.look_for_end()
    hand_over(gate, range(3))
    assert ended_at(gate) is None
    gate.process(Stop())
    gate.process(Start())
    hand_over(gate, range(4))
    gate.process(Stop())
    assert ended_at(gate) == 3
    for _ in range(3):  # the events, the Stop and the next Start
        gate.take()
    gate.look_for_end()
    assert ended_at(gate) == 7


def test_a_message_without_the_key_of_the_next_stage_is_refused_and_holds_up_no_other():
    gate = gateway(key_field="group")
    gate.process(Event({"index": 0, "group": 1}))
    with pytest.raises(EncodeError, match='dispatch = "key:group"'):
        gate.process(Event({"index": 1}))
    with pytest.raises(EncodeError, match="hand over a Start, an Event or a Stop"):
        gate.process("text")
    gate.process(Event({"index": 2, "group": 1}))
    assert (indices(gate.take()), gate.refused) == ([0, 2], 2)
