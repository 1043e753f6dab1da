import asyncio
import gc
import logging
import signal
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import DETACH_BYTES, Body, MessageCodec, Reason, join
from arroyo.config.graph import Stage
from arroyo.errors import RefusedError, StageError
from arroyo.messages import Event, Origin, Start, Stop
from arroyo.protocol.values.deliveries import Output
from arroyo.runner.process.stop_signals import StopNowError
from arroyo.runner.user_code.calls import FILTERED, OperatorCall, PublisherCall, Results, key_of
from arroyo.runner.user_code.methods import UnusableMethodError
from arroyo.runner.user_code.trials import StageFailedError
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
    return OperatorCall(stage, operator, MessageCodec(()), key_field), operator


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


def test_a_number_of_numpy_is_the_same_key_as_it_is_after_its_way():
    assert key_of(Event({"group": np.int64(3)}), "group") == key_of(Event({"group": 3}), "group")


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
    rest = (MessageCodec(()),) if kind is OperatorCall else ()
    kind(stage, made, *rest).close()
    assert made.closed == 1


class Failing(Publisher):
    def publish(self, message):
        raise OSError("the disk is full")


def test_a_publisher_that_raises_has_the_message_skipped():
    stage = Stage(name="write", role="publisher", target="own:Failing")
    made = PublisherCall(stage, Failing())
    assert made.event(Event()).reason == Reason.SKIPPED
    assert made.errors == 1


class Aside:
    """Keeps what is put aside."""

    def __init__(self):
        self.kept = []
        self.successes = 0

    def put(self, message, error, attempts):
        self.kept.append((message, str(error), attempts))

    def note_success(self):
        self.successes += 1

    def put_refused(self, message, error):
        self.kept.append((message, str(error), "refused"))

    def note_accepted(self):
        self.kept.append("accepted")


def call_with_aside(does, **settings):
    stage = Stage(name="work", role="operator", target="own:Doing", **settings)
    aside = Aside()
    return OperatorCall(stage, Doing(does), MessageCodec(()), None, aside), aside


def fails_on_odd(operator, message):
    if message.metadata["index"] % 2:
        raise ValueError("odd")
    return message


def test_a_message_that_raises_is_put_aside_and_its_neighbours_go_on():
    made, aside = call_with_aside(fails_on_odd)
    messages = [Event({"index": index}) for index in range(4)]
    outcomes = made.events(messages)
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == [
        None,
        Reason.QUARANTINED,
        None,
        Reason.QUARANTINED,
    ]
    assert aside.kept == [(messages[1], "odd", 1), (messages[3], "odd", 1)]
    assert aside.successes == 2


def test_failures_without_a_success_between_tell_of_none():
    made, aside = call_with_aside(fails_on_odd)
    made.events([Event({"index": index}) for index in (1, 3)])
    made.events([Event({"index": 5})])
    assert aside.successes == 0


def test_a_message_is_put_aside_after_the_last_try():
    made, aside = call_with_aside(fails_twice, on_error="retry", retries=1)
    assert made.event(Event()).reason == Reason.QUARANTINED
    assert [attempts for _, _, attempts in aside.kept] == [2]


def test_nothing_is_put_aside_where_it_is_to_be_skipped():
    made, aside = call_with_aside(fails_twice, on_error="skip")
    assert made.event(Event()).reason == Reason.SKIPPED
    assert aside.kept == []


def test_start_and_stop_are_not_put_aside():
    made, aside = call_with_aside(fails_twice)
    made.control(Start())
    assert (aside.kept, made.errors) == ([], 1)


def test_a_publisher_puts_aside_what_it_raises_on():
    stage = Stage(name="write", role="publisher", target="own:Failing")
    aside = Aside()
    made = PublisherCall(stage, Failing(), aside)
    assert made.event(Event()).reason == Reason.QUARANTINED
    assert made.control(Start()).reason == Reason.SKIPPED
    assert len(aside.kept) == 1


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
        Stage(name="work", role="operator", target="own:A"), Accumulating(), MessageCodec(())
    )
    assert sums(made.events([Event({"n": number}) for number in (1, 2, 3)])) == [1, 3, 6]


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
    together = list(made.events(messages))
    alone = [made.event(message) for message in messages]
    assert list(map(plain, together)) == list(map(plain, alone))
    assert made.errors == 2 * sum(kind in FAILING for kind in kinds)


def plain(outcome):
    """An outcome in a form that can be compared."""
    if hasattr(outcome, "items"):
        return outcome.reason, [plain(item) for item in outcome.items]
    return outcome if isinstance(outcome, bytes) else (outcome.body, bytes(outcome.payload))


def test_a_batch_of_single_small_results_is_one_body():
    made, _ = call(lambda _, message: message)
    messages = [Event({"n": number}) for number in range(3)]
    outcomes = made.events(messages)
    assert type(outcomes) is Body
    assert list(outcomes) == [MessageCodec(()).encode(message) for message in messages]


class Mute(Exception):  # noqa: N818  (as users name theirs)
    """Its text can't be had."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


NOT_ERRORS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), Mute()]


def names(error):
    return type(error).__name__


@pytest.fixture
def _signals_taken_over():
    """SIGINT is somebody else's, as in a stage's process."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


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
    assert made.event(Event()).reason == Reason.SKIPPED
    operator.does = later
    assert count(made.event(Event())) == 1  # also on the event loop that it was raised on
    made.close()


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_whatever_publish_raises_counts_as_raised_on_its_message(error):
    class Raises(Publisher):
        def publish(self, message):
            raise error

    made = PublisherCall(Stage(name="p", role="publisher", target="own:Raises"), Raises())
    assert made.event(Event()).reason == Reason.SKIPPED


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_on_error_crash_names_what_was_raised(error):
    made, _ = call(raising(error), on_error="crash")
    with pytest.raises(StageFailedError, match=names(error)):
        made.event(Event())


def test_ctrl_c_passes_through_where_nobody_has_taken_the_signal_over():
    made, _ = call(lambda _, message: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        made.event(Event())


def test_a_second_stop_signal_passes_through():
    made, _ = call(raising(StopNowError()))
    with pytest.raises(StopNowError):
        made.event(Event())


def test_a_message_may_be_tried_more_often_than_python_can_nest_calls():
    def fails_long(operator, message):
        if operator.calls <= 3000:
            raise ValueError("not yet")
        return message

    made, operator = call(fails_long, on_error="retry", retries=3000)
    assert count(made.event(Event())) == 1
    assert (operator.calls, made.errors) == (3001, 3000)


def published_in(thread_of):
    """Publish in another thread, which ends before process() returns; pass its error on."""

    def does(operator, message):
        caught = []

        def publish():
            try:
                operator.publish(message)
            except StageError as error:
                caught.append(error)

        thread_of(publish)
        if caught:
            raise caught[0]

    return does


def in_a_thread(publish):
    thread = threading.Thread(target=publish, name="camera-7")
    thread.start()
    thread.join()


def in_a_timer(publish):
    timer = threading.Timer(0.0, publish)
    timer.start()
    timer.join()


@pytest.mark.parametrize("thread_of", [in_a_thread, in_a_timer])
def test_publishing_from_another_thread_is_an_error_there(thread_of):
    made, _ = call(published_in(thread_of), on_error="crash")
    with pytest.raises(StageFailedError, match=r"publish\(\) outside process\(\), in thread"):
        made.event(Event())
    assert made.errors == 2  # the refusal, and what process() raised


def test_publishing_after_process_has_returned_is_an_error_and_goes_into_no_other_message():
    made, operator = call(lambda _, message: message)
    made.event(Event())
    with pytest.raises(StageError, match="nothing was published"):
        operator.publish(Event())
    assert count(made.event(Event())) == 1
    made.close()


@pytest.mark.parametrize("method", ["open", "close"])
def test_publishing_in_open_or_close_is_an_error(method):
    made, operator = call(later)
    setattr(operator, method, lambda: operator.publish(Event()))
    with pytest.raises(StageError, match="nothing was published"):
        getattr(made, method)()


def test_a_task_that_is_left_behind_can_not_publish_into_the_next_message():
    refused = []

    async def publish_later(operator, message, gate):
        await gate.wait()
        try:
            operator.publish(message)
        except StageError as error:
            refused.append(error)

    async def leaves_a_task(operator, message):
        if operator.calls == 1:
            operator.gate = asyncio.Event()
            operator.task = asyncio.ensure_future(publish_later(operator, message, operator.gate))
        else:
            operator.gate.set()
            await operator.task
        return message

    made, _ = call(leaves_a_task)
    assert [count(made.event(Event())) for _ in range(2)] == [1, 1]
    assert len(refused) == 1
    made.close()


def test_a_coroutine_may_publish_also_from_its_own_tasks_and_threads():
    async def does(operator, message):
        operator.publish(message)
        await asyncio.gather(publish_soon(operator, message))
        await asyncio.to_thread(operator.publish, message)

    async def publish_soon(operator, message):
        operator.publish(message)

    made, _ = call(does)
    assert count(made.event(Event())) == 3
    made.close()


def test_coroutines_run_although_an_event_loop_runs_already():
    """As in a notebook."""
    made, _ = call(publish_later_and_return)

    async def cell():
        return count(made.event(Event()))

    assert asyncio.run(cell()) == 2
    made.close()


async def publish_later_and_return(operator, message):
    await asyncio.sleep(0)
    operator.publish(message)
    return message


class Archive(Publisher):
    """Async in all its methods, as one that talks to a server."""

    def __init__(self):
        self.done = []

    async def open(self):
        self.loop = asyncio.get_running_loop()
        self.done.append("open")

    async def publish(self, message):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("publish")

    async def flush(self):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("flush")

    async def close(self):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("close")


def publisher_call(publisher):
    return PublisherCall(Stage(name="p", role="publisher", target="own:P"), publisher)


def test_async_methods_are_awaited_on_one_event_loop():
    archive = Archive()
    made = publisher_call(archive)
    made.open()
    made.event(Event())
    made.flush()
    made.close()
    assert archive.done == ["open", "publish", "flush", "close"]


def test_a_publish_that_returns_a_generator_is_a_mistake_of_the_class():
    class Lazy(Publisher):
        def publish(self, message):
            return (each for each in [message])

    with pytest.raises(UnusableMethodError, match=r"Lazy.publish\(\) returned a generator"):
        publisher_call(Lazy()).event(Event())


def test_what_has_come_of_messages_so_far_is_seen_in_their_order():
    results = Results()
    seen = [results.so_far()]
    for outcome in (FILTERED, None, None, Output([b"a", b"b"], 2), None):
        if outcome is None:
            results.body.append(bytes([len(results)]))
        else:
            results.append(outcome)
        seen.append(results.so_far())
    assert seen[-1] == results.in_order()
    assert [len(each) for each in seen] == list(range(6))
    assert all(each == seen[-1][: len(each)] for each in seen)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_message_that_was_raised_on_is_let_go_at_once(retries, caplog):
    # Or its payload would count as kept by the stage's code.
    def fail(_, message):
        try:
            raise KeyError("before")
        except KeyError:
            raise ValueError(len(message.array)) from None

    caplog.set_level(logging.ERROR, "arroyo.runner.user_code.trials")  # it keeps what is logged
    working, _ = call(fail, on_error="skip", retries=retries)
    message = Event.from_array(np.zeros(100))
    buffer = weakref.ref(message.payload.obj)
    gc.disable()
    try:
        working.events(iter([message]))
        del message
        assert buffer() is None
    finally:
        gc.enable()


class Refusing(Publisher):
    """Publishes into a world that says at the flush which messages it refuses."""

    def __init__(self):
        self.refused = []

    def publish(self, message):
        if getattr(message, "metadata", {}).get("bad", isinstance(message, Start)):
            self.refused.append((message, ValueError("nobody wants it")))

    def flush(self):
        refused, self.refused = self.refused, []
        if refused:
            raise RefusedError(refused)


def refusing(**settings):
    aside = Aside()
    stage = Stage(name="p", role="publisher", target="own:P", **settings)
    return PublisherCall(stage, Refusing(), aside), aside


def placed(sequence, **metadata):
    event = Event(metadata)
    event._origin = Origin("run", "images.0", 7, sequence)
    return event


def test_messages_that_a_flush_refuses_are_put_aside_and_all_others_are_published():
    made, aside = refusing()
    bad = placed(1, bad=True)
    made.events([placed(0), bad, placed(2)])
    assert made.flush() == {bad.origin: Reason.QUARANTINED}
    assert aside.kept == ["accepted", (bad, "nobody wants it", "refused")]
    assert made.errors == 1
    assert made.flush() == {}


def test_refused_messages_among_which_none_was_accepted_are_told_as_such():
    made, aside = refusing()
    bad = [placed(number, bad=True) for number in range(3)]
    made.events(bad)
    assert list(made.flush()) == [each.origin for each in bad]
    assert "accepted" not in aside.kept


def test_a_refused_message_is_skipped_or_ends_the_stage_as_on_error_says():
    bad = placed(0, bad=True)
    made, _ = refusing(on_error="skip")
    made.events([bad])
    assert made.flush() == {bad.origin: Reason.SKIPPED}
    made, _ = refusing(on_error="crash")
    made.events([bad])
    with pytest.raises(StageFailedError, match="nobody wants it"):
        made.flush()


def test_a_refused_start_is_counted_as_an_error_and_its_run_goes_on():
    made, aside = refusing()
    made.control(Start())
    assert made.flush() == {}
    assert (made.errors, aside.kept) == (1, [])
