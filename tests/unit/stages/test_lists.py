"""`process_batch()` and `publish_batch()` of objects put together by hand, and their rules."""

import asyncio

import pytest

from arroyo import Event, Operator, Publisher, Start, Stop
from arroyo.errors import StageError
from arroyo.stages import require_results


class Doubled(Operator):
    """Twice each, but for odd ones; it has no `process()`."""

    def process_batch(self, messages):
        return [None if each.metadata["index"] % 2 else [each, each] for each in messages]


class DoubledLater(Doubled):
    async def process_batch(self, messages):
        await asyncio.sleep(0)
        return super().process_batch(messages)


class WithBoth(Doubled):
    def process(self, message):
        assert not isinstance(message, Event)
        return type(message)({"seen": True})


class Kept(Publisher):
    def __init__(self):
        self.lists = []

    def publish_batch(self, messages):
        self.lists.append(list(messages))


class KeptWithBoth(Kept):
    def publish(self, message):
        self.lists.append(message)


def run_through(operator, publisher):
    operator.add_publisher(publisher)
    results = [
        operator.process(message)
        for message in (Start({"run": 1}), Event({"index": 0}), Event({"index": 1}), Stop())
    ]
    operator.remove_publisher(publisher)
    return results


@pytest.mark.parametrize("kind", [Doubled, DoubledLater])
def test_without_process_single_messages_are_lists_of_one_and_start_and_stop_go_on(kind):
    kept = Kept()
    run_through(kind(), kept)
    assert kept.lists == [[Event({"index": 0})], [Event({"index": 0})]]


@pytest.mark.parametrize("kind", [Doubled, WithBoth])
def test_the_result_for_a_single_message_is_what_stands_in_the_list(kind):
    _, first, second, _ = run_through(kind(), Kept())
    assert (first, second) == ([Event({"index": 0})] * 2, None)


def test_with_both_process_hears_of_start_and_stop_alone():
    kept = KeptWithBoth()
    run_through(WithBoth(), kept)
    assert kept.lists == [
        Start({"seen": True}),
        *[[Event({"index": 0})]] * 2,
        Stop({"seen": True}),
    ]


def test_an_operator_without_a_chain_publishes_to_lists_as_well():
    class Publishes(Operator):
        def process(self, message):
            return None

    operator, kept = Publishes(), KeptWithBoth()
    operator.add_publisher(kept)
    operator.publish(Event({"index": 3}))
    assert kept.lists == [[Event({"index": 3})]]


def test_who_gets_a_list_can_return_results_and_not_publish_them():
    class Publishes(Operator):
        def process_batch(self, messages):
            self.publish(messages[0])
            return [None] * len(messages)

    operator, kept = Publishes(), Kept()
    operator.add_publisher(kept)
    with pytest.raises(StageError, match=r"publish\(\) within process_batch\(\)"):
        operator.process(Event())
    operator.publish(Event({"index": 4}))  # between two calls it can
    assert kept.lists == [[Event({"index": 4})]]


def test_without_any_of_the_two_methods_a_class_stays_abstract():
    class Nothing(Operator):
        pass

    class Mute(Publisher):
        pass

    for kind in (Nothing, Mute):
        with pytest.raises(TypeError, match="abstract"):
            kind()


@pytest.mark.parametrize("returned", [[None, None], (Event(), [])])
def test_a_list_with_a_result_for_each_message_is_taken_as_it_is(returned):
    assert require_results(returned, 2) is returned


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "got 2 messages and returned None"),
        ([None], "got 2 messages and returned 1 result;"),
        ([None] * 3, "got 2 messages and returned 3 results"),
        (Event(), "returned an object of type Event"),
        ("ab", "returned an object of type str"),
        ({1, 2}, "returned an object of type set"),
        ((each for each in "ab"), "returned an object of type generator"),
    ],
)
def test_anything_else_is_an_error_that_says_what_is_expected(returned, words):
    with pytest.raises(StageError) as error:
        require_results(returned, 2)
    assert words in str(error.value)
    assert "one result for each message, in their order" in str(error.value)
