import asyncio
import gc
import logging
import signal
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_calls import (
    NOT_ERRORS,
    Aside,
    Doing,
    call,
    count,
    current_message,
    fails_twice,
    later,
    names,
    on_one,
    work,
)

from arroyo.codec import DETACH_BYTES, Body, MessageCodec, Reason, join
from arroyo.config.graph import Stage
from arroyo.messages import Event, Message, Start, Stop
from arroyo.runner.process.stop_signals import StopNowError
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.runner.user_code.operator_call import OperatorCall
from arroyo.runner.user_code.publisher_call import PublisherCall
from arroyo.stages import Operator


def publish_one_and_return_one(operator, message):
    operator.publish(message)
    return message


async def many_later(operator, message):
    yield message
    yield message


WAYS = {
    "nothing": (lambda _, message: None, 0),
    "one": (lambda _, message: message, 1),
    "a list": (lambda _, message: [message, message], 2),
    "a generator": (lambda _, message: (message for _ in range(3)), 3),
    "an empty list": (lambda _, message: [], 0),
    "published and returned": (publish_one_and_return_one, 2),
    "awaited": (later, 1),
    "generated later": (many_later, 2),
}


@pytest.mark.parametrize(("does", "number"), WAYS.values(), ids=WAYS)
def test_every_way_of_giving_results_is_understood(does, number):
    made, _ = call(does)
    outcome = on_one(made, Event())
    made.methods.close()
    assert count(outcome) == number
    if not number:
        assert outcome.reason == Reason.FILTERED


@pytest.mark.parametrize("wrong", [5, "text", {"a": 1}, [Event(), 5], Start(), Stop()])
def test_what_is_no_event_is_an_error_of_the_stage(wrong):
    made, _ = call(lambda _, message: wrong, on_error="crash")
    with pytest.raises(StageFailedError, match="process"):
        on_one(made, Event())


def test_a_message_is_skipped_where_it_raises():
    made, _ = call(fails_twice)
    outcomes = [on_one(made, Event()) for _ in range(3)]
    assert [count(outcome) for outcome in outcomes] == [0, 0, 1]
    assert outcomes[0].reason == Reason.SKIPPED
    assert made.errors == 2


def test_a_message_is_tried_as_often_as_it_says():
    made, operator = call(fails_twice, on_error="retry", retries=2)
    assert count(on_one(made, Event())) == 1
    assert operator.calls == 3


@pytest.mark.parametrize("message", [Start({"a": 1}), Stop({"a": 1})])
def test_start_and_stop_go_on_once_even_where_process_raises(message):
    made, _ = call(fails_twice)
    assert made.control(message) == MessageCodec(()).encode(message)


@pytest.mark.parametrize("kind", [OperatorCall, PublisherCall])
def test_a_class_that_only_looks_like_a_stage_is_closed(kind):
    class Lookalike:
        closed = 0

        def process(self, message):
            return message

        publish = process

        def close(self):
            self.closed += 1

    made = Lookalike()
    stage = Stage(name="work", role="operator", target="own:Lookalike")
    codec = (MessageCodec(()),) if kind is OperatorCall else ()
    kind(stage, made, *codec, current_message()).methods.close()
    assert made.closed == 1


def call_with_aside(does, **settings):
    stage = Stage(name="work", role="operator", target="own:Doing", **settings)
    aside = Aside()
    return OperatorCall(
        stage, Doing(does), MessageCodec(()), current_message(), quarantine=aside
    ), aside


def fails_on_odd(operator, message):
    if message.metadata["index"] % 2:
        raise ValueError("odd")
    return message


def test_a_message_that_raises_is_put_aside_and_its_neighbours_go_on():
    made, aside = call_with_aside(fails_on_odd)
    messages = [Event({"index": index}) for index in range(4)]
    outcomes = made.events(work(messages))
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == [
        None,
        Reason.QUARANTINED,
        None,
        Reason.QUARANTINED,
    ]
    assert aside.kept == [(messages[1], "odd", 1), (messages[3], "odd", 1)]
    assert aside.successes == 1  # the one between them


def test_failures_without_a_success_between_tell_of_none():
    made, aside = call_with_aside(fails_on_odd)
    made.events(work([Event({"index": index}) for index in (1, 3)]))
    made.events(work([Event({"index": 5})]))
    assert aside.successes == 0


def test_a_message_is_put_aside_after_the_last_try():
    made, aside = call_with_aside(fails_twice, on_error="retry", retries=1)
    assert on_one(made, Event()).reason == Reason.QUARANTINED
    assert [attempts for _, _, attempts in aside.kept] == [2]


def test_nothing_is_put_aside_where_it_is_to_be_skipped():
    made, aside = call_with_aside(fails_twice, on_error="skip")
    assert on_one(made, Event()).reason == Reason.SKIPPED
    assert aside.kept == []


def test_start_and_stop_are_not_put_aside():
    made, aside = call_with_aside(fails_twice)
    made.control(Start())
    assert (aside.kept, made.errors) == ([], 1)


class Accumulating(Operator):
    """Gives out the same message again and again, and changes it in between."""

    def __init__(self):
        self.total = Event({"sum": 0})

    def process(self, message):
        self.total.metadata["sum"] += message.metadata["n"]
        return self.total


def sums(outcomes):
    body = bytes(join(outcomes)[0])
    return [event.metadata["sum"] for event in MessageCodec(()).decode(body, (), ())]


def test_a_result_travels_as_it_was_when_it_was_returned():
    made = OperatorCall(
        Stage(name="work", role="operator", target="own:A"),
        Accumulating(),
        MessageCodec(()),
        current_message(),
    )
    assert sums(made.events(work([Event({"n": number}) for number in (1, 2, 3)]))) == [1, 3, 6]


FAILING = ("raise", "publish and raise", "unencodable")


def mixed(operator, message):
    """Return what the message asks for."""
    kind = message.metadata["kind"]
    if kind == "raise":
        raise ValueError("told to")
    if kind == "publish and raise":
        operator.publish(Event({"half": True}))
        raise ValueError("told to")
    if kind == "unencodable":
        return Event({"cannot": object()})
    if kind == "published":
        operator.publish(message)
    return {
        "one": message,
        "two": [message, message],
        "large": Event(message.metadata, bytes(DETACH_BYTES)),
    }.get(kind)


@given(st.lists(st.sampled_from(["one", "nothing", "two", "large", "published", *FAILING])))
def test_each_message_of_a_batch_comes_to_the_same_as_alone(kinds):
    messages = [Event({"kind": kind, "n": number}) for number, kind in enumerate(kinds)]
    made, _ = call(mixed, on_error="skip")
    together = list(made.events(work(messages)))
    alone = [on_one(made, message) for message in messages]
    assert list(map(plain, together)) == list(map(plain, alone))
    assert made.errors == 2 * sum(kind in FAILING for kind in kinds)


def plain(outcome):
    """An outcome in a form that can be compared."""
    if hasattr(outcome, "items"):
        return outcome.reason, [plain(item) for item in outcome.items]
    return outcome if isinstance(outcome, bytes) else (outcome.body, bytes(outcome.payload))


class Reading(Message):
    value: float = 0.0


@pytest.mark.parametrize(
    ("message", "spoil"),
    [
        (Event({"n": 1}), lambda event: event.metadata.update({5: "key"})),
        (Event({"n": 1}), lambda event: setattr(event, "metadata", ["n"])),
        (Event({"n": 1}), lambda event: setattr(event, "shape", (-1,))),
        (Event({"n": 1}, b"12", "<u2", (1,)), lambda event: setattr(event, "dtype", "u-2")),
        (Reading(1.5), lambda reading: setattr(reading, "value", "much")),
    ],
)
def test_a_message_that_was_spoilt_in_place_is_refused_where_it_was_spoilt(message, spoil):
    def does(operator, message):
        spoil(message)
        return message

    stage = Stage(name="work", role="operator", target="own:Doing", on_error="crash")
    codec = MessageCodec((Reading,))
    came = codec.decode(bytes(join([codec.encode(message)])[0]), (), ())
    made = OperatorCall(stage, Doing(does), codec, current_message())
    with pytest.raises(StageFailedError, match="can't be sent"):
        made.events(work(came))


def test_a_batch_of_single_small_results_is_one_body():
    made, _ = call(lambda _, message: message)
    messages = [Event({"n": number}) for number in range(3)]
    outcomes = made.events(work(messages))
    assert type(outcomes) is Body
    assert list(outcomes) == [MessageCodec(()).encode(message) for message in messages]


def raising(error):
    def does(operator, message):
        raise error

    return does


def raising_later(error):
    async def does(operator, message):
        await asyncio.sleep(0)
        raise error

    return does


def raising_in_a_generator(error):
    def does(operator, message):
        yield message
        raise error

    return does


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("way", [raising, raising_later, raising_in_a_generator])
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_whatever_process_raises_counts_as_raised_on_its_message(error, way):
    made, operator = call(way(error))
    assert on_one(made, Event()).reason == Reason.SKIPPED
    operator.does = later
    assert count(on_one(made, Event())) == 1  # also on the event loop that it was raised on
    made.methods.close()


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_on_error_crash_names_what_was_raised(error):
    made, _ = call(raising(error), on_error="crash")
    with pytest.raises(StageFailedError, match=names(error)):
        on_one(made, Event())


def test_ctrl_c_passes_through_where_nobody_has_taken_the_signal_over():
    made, _ = call(lambda _, message: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        on_one(made, Event())


def test_a_second_stop_signal_passes_through():
    made, _ = call(raising(StopNowError()))
    with pytest.raises(StopNowError):
        on_one(made, Event())


def test_a_message_may_be_tried_more_often_than_python_can_nest_calls():
    def fails_long(operator, message):
        if operator.calls <= 3000:
            raise ValueError("not yet")
        return message

    made, operator = call(fails_long, on_error="retry", retries=3000)
    assert count(on_one(made, Event())) == 1
    assert (operator.calls, made.errors) == (3001, 3000)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_message_that_was_raised_on_is_let_go_at_once(retries, caplog):
    # Or its payload would count as kept by the stage's code.
    def fail(_, message):
        try:
            raise KeyError("before")
        except KeyError:
            raise ValueError(len(message.array)) from None

    # pytest would keep errors, and with them the messages.
    caplog.set_level(logging.ERROR, "arroyo.runner.user_code.error_policy")
    working, _ = call(fail, on_error="skip", retries=retries)
    message = Event.from_array(np.zeros(100))
    buffer = weakref.ref(message.payload.obj)
    gc.disable()
    try:
        working.events(iter(work([message])))
        del message
        assert buffer() is None
    finally:
        gc.enable()
