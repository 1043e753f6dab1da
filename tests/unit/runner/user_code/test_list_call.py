"""Calls of `process_batch()` and `publish_batch()`, also where they fail."""

import asyncio
import gc
import logging
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_calls import NOT_ERRORS, Aside, current_message, names, work

from arroyo.codec import DETACH_BYTES, Batch, Body, Kind, MessageCodec, Reason, join
from arroyo.config.graph import Stage
from arroyo.errors import RefusedError, UnavailableError
from arroyo.messages import Event, Start, Stop
from arroyo.protocol.values.deliveries import Output
from arroyo.runner.process.stop_signals import StopNowError
from arroyo.runner.user_code.dispatch_key import key_of
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.runner.user_code.fold_call import FoldCall
from arroyo.runner.user_code.list_call import OwnPayloads
from arroyo.runner.user_code.methods import UnusableMethodError
from arroyo.runner.user_code.operator_call import OperatorCall
from arroyo.runner.user_code.publisher_call import PublisherCall
from arroyo.stages import Operator, Publisher

CODEC = MessageCodec(())


def numbered(count, first=0):
    return work([Event({"n": first + number}) for number in range(count)], first)


def numbers(messages):
    return [each.metadata["n"] for each in messages]


class Doing(Operator):
    """Notes the lists that it gets, and does with them what a function says."""

    def __init__(self, does):
        self.does = does
        self.lists = []

    def process_batch(self, messages):
        self.lists.append(numbers(messages))
        return self.does(messages)


class Taking(Publisher):
    """The same for a publisher."""

    def __init__(self, does=lambda messages: None):
        self.does = does
        self.lists = []

    def publish_batch(self, messages):
        self.lists.append(numbers(messages))
        return self.does(messages)


class Called:
    """A stage's object with what calls it."""

    def __init__(self, made, key_field=None, **settings):
        self.made, self.current, self.aside = made, current_message(), Aside()
        self.restored = 0
        role = "operator" if isinstance(made, Operator) else "publisher"
        stage = Stage(role, role, "own:Stage", **settings)
        if role == "operator":
            self.call = OperatorCall(
                stage,
                made,
                CODEC,
                self.current,
                key_field=key_field,
                quarantine=self.aside,
                restore=self.restore,
            )
        else:
            self.call = PublisherCall(
                stage, made, self.current, quarantine=self.aside, restore=self.restore
            )

    def restore(self):
        self.restored += 1

    def events(self, messages):
        return self.call.events(messages)


def outcomes(found):
    """How many messages go on in place of each, or why none does."""
    return [
        each.reason or len(each.items) if isinstance(each, Output) else 1 for each in list(found)
    ]


def raises_on(bad, error=None):
    def does(messages):
        if bad in numbers(messages):
            raise ValueError("bad") if error is None else error
        return list(messages)

    return does


def test_a_batch_is_one_list_and_all_of_its_results_are_in_one_body():
    called = Called(Doing(lambda messages: messages))
    found = called.events(numbered(5))
    assert called.made.lists == [[0, 1, 2, 3, 4]]
    assert type(found) is Body
    assert numbers(CODEC.decode(bytes(join(found)[0]), (), ())) == [0, 1, 2, 3, 4]
    assert called.aside.successes == 1


def test_results_may_be_one_message_several_or_none():
    called = Called(
        Doing(lambda messages: [messages[0], None, [messages[2]] * 3, (), iter([messages[4]] * 2)])
    )
    found = called.events(numbered(5))
    assert outcomes(found) == [1, Reason.FILTERED, 3, Reason.FILTERED, 2]


def test_messages_know_where_they_come_from():
    seen = []

    def does(messages):
        seen.extend((each.origin.sequence, each.key) for each in messages)
        return messages

    Called(Doing(does)).events(numbered(3, first=7))
    assert seen == [(7, "s.0/r/7"), (8, "s.0/r/8"), (9, "s.0/r/9")]


def test_all_of_a_list_is_in_hand_while_the_code_works_and_none_of_it_later():
    called = Called(
        Doing(lambda messages: seen.append((current.sequence[0], current.end[0])) or messages)
    )
    seen, current = [], called.current
    called.events(numbered(4, first=10))
    assert seen == [(10, 14)]
    assert current.end[0] == 0
    called.events(numbered(1, first=20))
    assert seen[1:] == [(20, 0)]


def test_start_and_stop_go_to_process_where_there_is_one():
    class WithBoth(Doing):
        def process(self, message):
            return type(message)({"seen": True})

    for kind, data in ((WithBoth, {"seen": True}), (Doing, {"run": 1})):
        call = Called(kind(lambda messages: messages)).call
        for control in (Start({"run": 1}), Stop({"run": 1})):
            (decoded,) = CODEC.decode(bytes(join([call.control(control)])[0]), (), ())
            assert decoded == type(control)(data)


def test_an_object_that_inherits_nothing_needs_no_process_either():
    class Bare:
        def process_batch(self, messages):
            return messages

        def publish_batch(self, messages):
            pass

    stage, current = Stage("bare", "operator", "own:Bare"), current_message()
    call = OperatorCall(stage, Bare(), CODEC, current)
    assert len(call.events(numbered(2))) == 2
    call.control(Start())
    publishes = PublisherCall(stage, Bare(), current)
    assert publishes.events(numbered(2)) == [None, None]
    assert publishes.control(Start()) is None


# Where it fails


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_the_one_that_raises_is_found_by_trying_each_alone(bad, caplog):
    called = Called(Doing(raises_on(bad)))
    with caplog.at_level(logging.WARNING):
        found = called.events(numbered(5))
    assert outcomes(found) == [Reason.QUARANTINED if n == bad else 1 for n in range(5)]
    assert called.made.lists == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]
    assert [(numbers([message]), words) for message, words, _ in called.aside.kept] == [
        ([bad], "bad")
    ]
    assert "raised ValueError: bad on a list of 5 messages; each is tried alone" in caplog.text


def test_a_publisher_is_tried_one_by_one_as_well():
    called = Called(Taking(raises_on(1)))
    assert [each and each.reason for each in called.events(numbered(3))] == [
        None,
        Reason.QUARANTINED,
        None,
    ]
    assert called.made.lists == [[0, 1, 2], [0], [1], [2]]
    assert called.restored == 1  # what the code has changed in place is as it came


@pytest.mark.parametrize("returned", [None, [], [None] * 2, [None] * 6, Event()], ids=repr)
def test_a_wrong_number_of_results_is_an_error_that_says_so(returned, caplog):
    called = Called(Doing(lambda messages: returned if len(messages) > 1 else messages))
    with caplog.at_level(logging.WARNING):
        found = called.events(numbered(5))
    assert outcomes(found) == [1] * 5
    assert "process_batch() got 5 messages and returned" in caplog.text
    assert "return a list with one result for each message, in their order" in caplog.text


def test_what_single_messages_get_wrong_is_told_as_well():
    called = Called(Doing(lambda messages: []))
    assert outcomes(called.events(numbered(2))) == [Reason.QUARANTINED] * 2
    assert "process_batch() got 1 message and returned 0 results" in called.aside.kept[0][1]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (5, "process_batch() returned int 5, expected a message"),
        (Stop(), "process_batch() got Event and returned Stop"),
        (Event({"t": float}), "can't be sent"),
    ],
    ids=repr,
)
def test_a_result_that_can_not_be_sent_costs_its_own_message_alone(result, words):
    def does(messages):
        return [result if each.metadata["n"] == 2 else each for each in messages]

    called = Called(Doing(does))
    found = outcomes(called.events(numbered(4)))
    assert found == [1, 1, Reason.QUARANTINED, 1]
    assert words in called.aside.kept[0][1]


def test_retries_are_for_single_messages():
    tries = []

    def does(messages):
        tries.append(numbers(messages))
        if 1 in numbers(messages) and len(tries) < 5:
            raise ValueError("not yet")
        return messages

    called = Called(Doing(does), on_error="retry", retries=2)
    assert outcomes(called.events(numbered(2))) == [1, 1]
    assert tries == [[0, 1], [0], [1], [1], [1]]
    assert called.call.errors == 3


def test_crash_names_the_message_that_is_to_blame():
    called = Called(Doing(raises_on(3)), on_error="crash")
    with pytest.raises(StageFailedError, match=r"on Event s\.0/r/3"):
        called.events(numbered(5))


def test_skip_goes_on_without_it():
    called = Called(Doing(raises_on(3)), on_error="skip")
    assert outcomes(called.events(numbered(5)))[3] == Reason.SKIPPED
    assert called.aside.kept == []


@pytest.mark.parametrize("make", [Doing, Taking])
@pytest.mark.parametrize("error", [UnavailableError("away"), UnusableMethodError("never")])
def test_what_is_no_messages_fault_comes_out_at_once(make, error):
    called = Called(make(raises_on(0, error)))
    with pytest.raises(type(error)):
        called.events(numbered(3))
    assert called.made.lists == [[0, 1, 2]]


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_whatever_it_raises_counts_as_raised_on_the_list(error):
    called = Called(Doing(raises_on(1, error)), on_error="skip")
    assert outcomes(called.events(numbered(3))) == [1, Reason.SKIPPED, 1]


def test_a_second_stop_signal_passes_through():
    called = Called(Doing(raises_on(1, StopNowError())))
    with pytest.raises(StopNowError):
        called.events(numbered(3))


def test_what_is_left_when_results_are_due_is_tried_one_by_one_as_well():
    """The batch worker comes back with the rest of the batch: no list is made of that."""
    called = Called(Doing(raises_on(4)))
    batch = Batch("s.0", 1, 1, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, ranges=((0, 6),))
    left = numbered(6)
    while left:
        called.current.due.clear()
        called.current.take_up(batch, left, lambda *_: False)
        called.made.does = raises_on(4)
        called.current.due.append(True)
        left = left[len(called.events(left)) :]
    assert called.made.lists == [[0, 1, 2, 3, 4, 5], [0], [1], [2], [3], [4], [5]]


def test_the_next_batch_is_a_list_again():
    called = Called(Doing(raises_on(1)))
    for number, first in ((1, 0), (2, 3)):
        batch = Batch("s.0", 1, number, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)
        called.current.take_up(batch, numbered(3, first), lambda *_: False)
        called.events(numbered(3, first))
    assert called.made.lists[-1] == [3, 4, 5]


def test_a_batch_that_may_be_fatal_is_worked_on_one_by_one():
    called = Called(Doing(lambda messages: messages))
    batch = Batch("s.0", 1, 1, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)
    called.current.take_up(batch, numbered(3), lambda *asked: asked == (batch, 0, 3))
    called.events(numbered(3))
    assert called.made.lists == [[0], [1], [2]]


@given(st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_only_those_that_raise_end_whatever_the_batch(bad, count):
    def does(messages):
        if bad.intersection(numbers(messages)):
            raise ValueError("bad")
        return list(messages)

    called = Called(Doing(does), on_error="skip")
    found = outcomes(called.events(numbered(count)))
    assert found == [Reason.SKIPPED if number in bad else 1 for number in range(count)]


# Other ways of writing it


@pytest.mark.parametrize("bad", [None, 1])
def test_async_methods_are_awaited_on_one_event_loop(bad):
    class Later(Doing):
        async def open(self):
            self.loop = asyncio.get_running_loop()

        async def process_batch(self, messages):
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is self.loop
            return super().process_batch(messages)

    class PublishesLater(Taking):
        async def publish_batch(self, messages):
            await asyncio.sleep(0)
            super().publish_batch(messages)

    called, taken = Called(Later(raises_on(bad))), Called(PublishesLater(raises_on(bad)))
    called.call.methods.open()
    assert len(called.events(numbered(3))) == len(taken.events(numbered(3))) == 3
    assert called.made.lists == taken.made.lists
    assert len(called.made.lists) == (1 if bad is None else 4)
    called.call.methods.close()
    taken.call.methods.close()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("is_async", [False, True])
def test_publish_within_a_list_is_a_mistake_of_the_class(count, is_async):
    class Publishes(Operator):
        def process_batch(self, messages):
            if is_async:
                return self.later(messages)
            self.publish(messages[0])
            return messages

        async def later(self, messages):
            self.publish(messages[0])
            return messages

    called = Called(Publishes())
    with pytest.raises(UnusableMethodError, match="nobody can tell of which one this is a result"):
        called.events(numbered(count))
    called.call.methods.close()


def test_a_publisher_that_returns_a_generator_is_a_mistake_of_the_class():
    called = Called(Taking(lambda messages: (each for each in messages)))
    with pytest.raises(UnusableMethodError, match=r"publish_batch\(\) returned a generator"):
        called.events(numbered(2))


def test_what_was_published_as_a_list_is_flushed_and_may_be_refused():
    refused = []

    class Flushes(Taking):
        def flush(self):
            raise RefusedError([(message, ValueError("too old")) for message in refused])

    called = Called(Flushes(lambda messages: refused.append(messages[1])))
    called.events(numbered(3))
    assert {origin.sequence for origin in called.call.flush()} == {1}
    assert called.aside.kept[0] == "accepted"
    assert called.aside.kept[1][2] == "refused"


def test_the_replica_below_is_chosen_by_each_result():
    called = Called(Doing(lambda messages: messages), key_field="n")
    found = called.events(numbered(4))
    assert [each.keys for each in found] == [[key_of(Event({"n": n}), "n")] for n in range(4)]


# Payloads


def large(number):
    return Event({"n": number}, memoryview(bytes([number]) * DETACH_BYTES))


def test_a_payload_that_is_passed_on_is_copied_where_it_is_another_messages():
    events = [large(0), large(1)]
    payloads = OwnPayloads(work(events))
    assert payloads.own(events[0], events[0]) is events[0]
    own, (other, made, text) = (
        payloads.own(events[1], Event({}, events[1].payload)),
        payloads.own(events[1], iter([Event({}, events[0].payload), large(3), "ab"])),
    )
    assert own.payload is events[1].payload
    assert type(other.payload) is bytes
    assert other.payload == bytes(DETACH_BYTES)
    assert type(made.payload) is memoryview
    assert text == "ab"  # which is an error that others tell of
    assert payloads.own(events[1], None) is None


def test_a_slab_that_is_filled_is_that_of_the_message_whose_result_it_is():
    seen = []

    def keep(payload):
        seen.append(called.current.sequence[0])

    called = Called(Doing(lambda messages: [large(number) for number in range(3)]))
    called.call._codec.keep = keep
    try:
        called.events(numbered(3, first=5))
    finally:
        called.call._codec.keep = None
    assert seen == [5, 6, 7]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_here_keeps_messages_that_are_done(fails, caplog):
    # pytest would keep errors, and with them the messages.
    caplog.set_level(logging.CRITICAL, "arroyo.runner.user_code.error_policy")

    class Kept(np.ndarray):
        """What can be referred to weakly."""

    array = np.zeros(DETACH_BYTES, "u1").view(Kept)
    seen, messages = weakref.ref(array), [Event({"n": 0}, memoryview(array)), Event({"n": 1})]
    del array
    called = Called(Doing(raises_on(1 if fails else None)), on_error="skip")
    left = work(messages)
    del messages
    gc.disable()
    try:
        called.events(left)
        left.clear()
        assert seen() is None
    finally:
        gc.enable()


# Folds


class Folding(Doing):
    """Every third input completes an output of three."""

    folds = True
    max_inputs = 3

    def __init__(self):
        super().__init__(self.fold)
        self.inputs = []

    def fold(self, messages):
        found = []
        for each in messages:
            self.inputs.append(each)
            full = len(self.inputs) == 3
            found.append(Event({"n": numbers(self.inputs)}) if full else None)
            self.inputs = [] if full else self.inputs
        return found


def fold_call(made):
    called = Called(made)
    return FoldCall(Stage("fold", "operator", "own:F"), made, called.call, CODEC, called.current)


def test_a_fold_gets_lists_and_says_for_each_input_what_it_completes():
    made = Folding()
    found = fold_call(made).folded(("s.0", "r"), numbered(7))
    assert made.lists == [[0, 1, 2, 3, 4, 5, 6]]
    assert [len(each.output.items) for each in found] == [0, 0, 1, 0, 0, 1, 0]
    assert {each.still_held for each in found} == {None}


def test_a_fold_that_says_what_it_holds_gets_lists_of_one_and_is_asked_after_each():
    class Tells(Folding):
        def held(self):
            return self.inputs

    made = Tells()
    call = fold_call(made)
    assert not call.takes_lists
    found = call.folded(("s.0", "r"), numbered(4))
    assert made.lists == [[0], [1], [2], [3]]
    assert [len(each.still_held) for each in found] == [1, 2, 0, 1]


def test_a_list_of_a_fold_that_raises_is_folded_one_by_one():
    made = Folding()
    call, fold = fold_call(made), made.fold

    def does(messages):
        if 1 in numbers(messages):
            raise ValueError("bad")
        return fold(messages)

    made.does = does
    found = call.folded(("s.0", "r"), numbered(4))
    assert [each.output.reason for each in found[:3]] == [
        Reason.FILTERED,
        Reason.QUARANTINED,
        Reason.FILTERED,
    ]
    assert len(found[3].output.items) == 1
