import pytest

from arroyo.codec import MessageCodec, Reason
from arroyo.config.graph import Stage
from arroyo.errors import StageError
from arroyo.messages import Event, Start, Stop
from arroyo.runner.calls import OperatorCall, PublisherCall, StageFailedError, key_of
from arroyo.stages import Operator, Publisher


class Doing(Operator):
    """An operator that does what a function says."""

    def __init__(self, does):
        self.does = does
        self.calls = 0

    def process(self, message):
        self.calls += 1
        return self.does(self, message)


def call(does, key_field=None, **settings):
    stage = Stage(name="work", role="operator", target="own:Doing", **settings)
    operator = Doing(does)
    return OperatorCall(stage, operator, MessageCodec(()).encode, key_field), operator


def count(outcome):
    """How many messages go on."""
    return len(outcome.items) if hasattr(outcome, "items") else 1


def publish_one_and_return_one(operator, message):
    operator.publish(message)
    return message


async def later(operator, message):
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
    outcome = made.event(Event())
    made.close()
    assert count(outcome) == number
    if not number:
        assert outcome.reason == Reason.FILTERED


@pytest.mark.parametrize("wrong", [5, "text", {"a": 1}, [Event(), 5], Start(), Stop()])
def test_what_is_no_event_is_an_error_of_the_stage(wrong):
    made, _ = call(lambda _, message: wrong, on_error="crash")
    with pytest.raises(StageFailedError, match="process"):
        made.event(Event())


def fails_twice(operator, message):
    if operator.calls <= 2:
        raise ValueError("not yet")
    return message


def test_a_message_is_skipped_where_it_raises():
    made, _ = call(fails_twice)
    outcomes = [made.event(Event()) for _ in range(3)]
    assert [count(outcome) for outcome in outcomes] == [0, 0, 1]
    assert outcomes[0].reason == Reason.SKIPPED
    assert made.errors == 2


def test_a_message_is_tried_as_often_as_it_says():
    made, operator = call(fails_twice, on_error="retry", retries=2)
    assert count(made.event(Event())) == 1
    assert operator.calls == 3


def test_nothing_that_was_published_before_an_error_goes_on():
    def publish_and_fail(operator, message):
        operator.publish(message)
        if operator.calls == 1:
            raise ValueError("half way")

    made, _ = call(publish_and_fail, on_error="retry", retries=1)
    assert count(made.event(Event())) == 1


@pytest.mark.parametrize("message", [Start({"a": 1}), Stop({"a": 1})])
def test_start_and_stop_go_on_once_even_where_process_raises(message):
    made, _ = call(fails_twice)
    assert made.control(message) == MessageCodec(()).encode(message)


def test_a_key_is_the_same_for_the_same_value_only():
    one, same, other = (Event({"group": group}) for group in (1, 1, 2))
    assert key_of(one, "group") == key_of(same, "group") != key_of(other, "group")
    with pytest.raises(StageError, match="has no sample"):
        key_of(one, "sample")


class Failing(Publisher):
    def publish(self, message):
        raise OSError("the disk is full")


def test_a_publisher_that_raises_has_the_message_skipped():
    stage = Stage(name="write", role="publisher", target="own:Failing")
    made = PublisherCall(stage, Failing())
    assert made.event(Event()).reason == Reason.SKIPPED
    assert made.errors == 1
