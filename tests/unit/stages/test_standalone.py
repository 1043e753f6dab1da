"""Objects put together by hand, without a chain, as the class diagram says."""

import asyncio
import gc
import threading
import weakref

import pytest

from arroyo import Event, IteratingListener, Listener, Operator, Publisher, Start, Stop
from arroyo.errors import StageError
from arroyo.testing import InMemoryLink


class Frames(IteratingListener):
    """Two runs; nothing of a chain, and no super().__init__()."""

    def __init__(self, operator):
        self.operator = operator

    def messages(self):
        yield Start({"run": 1})
        yield Event({"index": 0})
        yield Event({"index": 1}), "token"
        yield Stop({"run": 1})


class Doing(Operator):
    """No super().__init__() here either."""

    def __init__(self, does):
        self.does = does

    def process(self, message):
        return self.does(self, message)


class Kept(Publisher):
    def __init__(self):
        self.messages = []

    def publish(self, message):
        self.messages.append(message)


class KeptLater(Kept):
    """Async, and bound to the event loop that it has first seen."""

    loop = None

    async def publish(self, message):
        await asyncio.sleep(0)
        self.loop = self.loop or asyncio.get_running_loop()
        assert asyncio.get_running_loop() is self.loop
        self.messages.append(message)


def doubled(message):
    return [message, message] if isinstance(message, Event) else [message]


def publishing(operator, message):
    for each in doubled(message):
        operator.publish(each)


async def publishing_later(operator, message):
    for each in doubled(message):
        await operator.publish(each)
        await asyncio.sleep(0)


async def later(operator, message):
    await asyncio.sleep(0)
    return doubled(message)


async def many_later(operator, message):
    for each in doubled(message):
        yield each


def many(operator, message):
    yield from doubled(message)


WAYS = [
    lambda operator, message: doubled(message),
    many,
    later,
    many_later,
    publishing,
    publishing_later,
]
NAMES = ["list", "generator", "coroutine", "async generator", "published", "published later"]


def described(messages):
    """In a few letters: S and P for Start and Stop, else the index."""
    letters = {Start: "S", Stop: "P"}
    return "".join(letters.get(type(each)) or str(each.metadata["index"]) for each in messages)


@pytest.mark.parametrize("kind", [Kept, KeptLater])
@pytest.mark.parametrize("does", WAYS, ids=NAMES)
def test_what_process_gives_out_goes_to_every_publisher(does, kind):
    operator, one, two = Doing(does), kind(), Kept()
    operator.add_publisher(one)
    operator.add_publisher(two)
    Frames(operator).start()
    assert described(one.messages) == described(two.messages) == "S0011P"


@pytest.mark.parametrize("does", WAYS, ids=NAMES)
def test_the_same_objects_give_the_same_in_a_chain(does):
    kept = Kept()
    with InMemoryLink(Doing(does), [kept]) as link:
        Frames(link).start()
    assert described(kept.messages) == "S0011P"


@pytest.mark.parametrize("returned", [lambda message: None, lambda message: type(message)({})])
def test_start_and_stop_go_on_once_whatever_process_returns(returned):
    operator, kept = Doing(lambda _, message: returned(message)), Kept()
    operator.add_publisher(kept)
    for message in (Start({"run": 1}), Stop({"run": 1})):
        operator.process(message)
    assert described(kept.messages) == "SP"


@pytest.mark.parametrize(
    ("message", "returned"),
    [(Event(), Start()), (Start(), Event()), (Event(), 5), (Event(), "text")],
    ids=repr,
)
def test_what_would_be_an_error_in_a_chain_is_one_by_hand(message, returned):
    operator, kept = Doing(lambda *_: returned), Kept()
    operator.add_publisher(kept)
    with pytest.raises(StageError, match="process"):
        operator.process(message)
    assert kept.messages == []


def test_a_fold_gives_out_events_at_a_stop_before_it():
    class Fold(Doing):
        folds = True

    operator, kept = Fold(lambda _, message: Event({"index": 7})), Kept()
    operator.add_publisher(kept)
    operator.process(Stop())
    assert described(kept.messages) == "7P"


def test_nothing_that_was_published_before_an_error_goes_on():
    def half(operator, message):
        operator.publish(message)
        raise ValueError("half way")

    operator, kept = Doing(half), Kept()
    operator.add_publisher(kept)
    with pytest.raises(ValueError, match="half way"):
        operator.process(Event())
    assert kept.messages == []


def test_a_listener_may_run_on_an_event_loop_and_await():
    class Async(Listener):
        async def start(self):
            for index in range(2):
                await asyncio.sleep(0)
                await self.operator.process(Event({"index": index}))

        def stop(self):
            pass

    operator, kept = Doing(later), KeptLater()
    operator.add_publisher(kept)
    asyncio.run(Async(operator).start())
    assert described(kept.messages) == "0011"


def test_results_of_process_are_returned_too():
    operator = Doing(lambda _, message: message)
    operator.add_publisher(Kept())
    message = Event()
    assert operator.process(message) is message


def test_a_method_of_the_base_class_delivers_nothing_by_itself():
    class More(Doing):
        def process(self, message):
            return super().process(message)

    operator, kept = More(lambda _, message: message), Kept()
    operator.add_publisher(kept)
    operator.process(Event({"index": 0}))
    assert described(kept.messages) == "0"


def test_without_publishers_process_is_the_users_own_again():
    operator, kept = Doing(lambda _, message: message), Kept()
    operator.add_publisher(kept)
    operator.remove_publisher(kept)
    assert "process" not in vars(operator)
    operator.process(Event())
    assert kept.messages == []


def test_a_timer_may_publish_by_hand_at_any_time():
    operator, kept = Doing(lambda *_: None), KeptLater()
    operator.add_publisher(kept)
    timer = threading.Timer(0.0, operator.publish, [Event({"index": 0})])
    timer.start()
    timer.join()
    assert described(kept.messages) == "0"


def let_go():
    operator = Doing(later)
    operator.add_publisher(KeptLater())
    operator.process(Event({"index": 0}))
    gone = weakref.ref(operator)
    del operator
    gc.collect()
    assert gone() is None  # an open loop would be a warning, and that an error


async def let_go_on_a_loop():
    let_go()


def test_an_operator_that_is_let_go_leaves_no_event_loop():
    let_go()
    asyncio.run(let_go_on_a_loop())
