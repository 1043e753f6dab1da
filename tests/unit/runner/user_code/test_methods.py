"""Methods beside `process()`: awaited, named where they raise, refused where they can't work."""

import pytest

from arroyo.errors import ConfigurationError
from arroyo.runner.user_code.methods import (
    MethodAwayError,
    MethodRaisedError,
    UnusableMethodError,
    await_result,
    call_if_there,
    close_stage,
    find_unusable,
    open_stage,
    set_parameters,
)
from arroyo.stages import Awaiter


class Stage:
    """Does what a test says in `open()` and `close()`."""

    def __init__(self, does):
        self.open = self.close = does


class CountedAwaiter(Awaiter):
    closed = 0

    def close(self):
        self.closed += 1
        super().close()


@pytest.fixture
def awaiter():
    made = CountedAwaiter()
    yield made
    Awaiter.close(made)


def raising(error):
    def does():
        raise error

    return does


def test_a_method_that_is_not_there_is_not_called(awaiter):
    call_if_there(object(), "open", awaiter)


def test_an_async_method_is_awaited(awaiter):
    done = []

    async def later():
        done.append("opened")

    call_if_there(Stage(later), "open", awaiter)
    assert done == ["opened"]


def test_what_a_method_raises_is_told_with_its_name(awaiter):
    with pytest.raises(MethodRaisedError, match=r"Stage.open\(\) raised ValueError: no beam"):
        call_if_there(Stage(raising(ValueError("no beam"))), "open", awaiter)


def test_what_is_only_away_may_be_tried_again(awaiter):
    with pytest.raises(MethodAwayError):
        call_if_there(Stage(raising(ConnectionRefusedError("no broker"))), "open", awaiter)


def test_an_error_of_arroyo_stays_what_it_is(awaiter):
    with pytest.raises(ConfigurationError, match="no such port"):
        call_if_there(Stage(raising(ConfigurationError("no such port"))), "open", awaiter)


def test_a_generator_has_not_run_and_is_refused(awaiter):
    with pytest.raises(UnusableMethodError, match=r"Stage.open\(\) returned a generator"):
        await_result((each for each in "ab"), Stage(None), "open", awaiter)


def test_the_event_loop_ends_with_the_stage_and_where_it_can_not_open(awaiter):
    open_stage(Stage(lambda: None), awaiter)
    assert awaiter.closed == 0
    close_stage(Stage(lambda: None), awaiter)
    assert awaiter.closed == 1
    for call in (open_stage, close_stage):
        with pytest.raises(MethodRaisedError):
            call(Stage(raising(ValueError("no"))), awaiter)
    assert awaiter.closed == 3


class Wrong:
    def open(self):
        yield

    async def start(self):
        yield

    async def stop(self):
        pass

    def process(self, message):
        yield message


def test_what_can_not_be_called_as_it_is_is_found_before_it_is_called():
    found = list(find_unusable(Wrong, "listener"))
    assert [each.partition("()")[0] for each in found] == ["open", "start", "stop"]
    assert "contains yield" in found[0]
    assert "is async, and nothing awaits it" in found[2]
    assert [each.partition("()")[0] for each in find_unusable(Wrong, "operator")] == ["open"]


class TakesLists:
    def process_batch(self, messages):
        return [None] * len(messages)

    async def publish_batch(self, messages, *, retries=3):
        pass


class TakesListsOtherwise:
    @staticmethod
    def process_batch(messages):
        return [None] * len(messages)

    @classmethod
    def publish_batch(cls, *messages):
        pass


@pytest.mark.parametrize("kind", [TakesLists, TakesListsOtherwise])
def test_methods_that_can_be_called_with_one_list_are_fine(kind):
    for stage in (kind, kind()):
        assert list(find_unusable(stage, "operator")) == []
        assert list(find_unusable(stage, "publisher")) == []


class Yields:
    def process_batch(self, messages):
        yield None

    async def publish_batch(self, messages):
        yield None


class TakesMore:
    def process_batch(self, messages, calibration):
        return [None]

    def publish_batch():
        pass


class HasOtherThings:
    process_batch = 64
    publish_batch = "positions"


@pytest.mark.parametrize(
    ("kind", "process", "publish"),
    [
        (
            Yields,
            "process_batch() contains yield; return a list with one result for each message",
            "publish_batch() contains yield, so that nothing of it runs",
        ),
        (
            TakesMore,
            "process_batch(messages, calibration) is called with one list of messages: missing a",
            "publish_batch() is called with one list of messages: too many positional arguments",
        ),
        (
            HasOtherThings,
            "process_batch is 64, expected a method; it is called with lists of messages",
            "publish_batch is 'positions', expected a method",
        ),
    ],
    ids=["yields", "takes more", "has other things"],
)
def test_what_can_not_be_called_with_one_list_is_found_before_it_is_called(kind, process, publish):
    (found,) = find_unusable(kind, "operator")
    assert found.startswith(process)
    (found,) = find_unusable(kind, "publisher")
    assert found.startswith(publish)


class Careful:
    """Has two parameters as attributes, of which one refuses what is negative."""

    mode = "fast"
    _level = 0

    @property
    def level(self):
        return self._level

    @level.setter
    def level(self, value):
        if value < 0:
            raise ValueError("a level is not negative")
        self._level = value


class Takes(Careful):
    """Has `set_parameters()`, which may be async."""

    async def set_parameters(self, parameters):
        for name, value in parameters.items():
            setattr(self, name, value)


def test_parameters_are_attributes(awaiter):
    stage = Careful()
    set_parameters(stage, {"level": 7, "mode": "slow"}, awaiter)
    assert (stage.level, stage.mode) == (7, "slow")


def test_an_attribute_that_refuses_leaves_the_others_as_they_were(awaiter):
    stage = Careful()
    with pytest.raises(MethodRaisedError, match=r"Careful\.level = -1 raised ValueError: a level"):
        set_parameters(stage, {"mode": "slow", "level": -1}, awaiter)
    assert (stage.level, stage.mode) == (0, "fast")


def test_a_class_that_takes_parameters_gets_them_before_it_is_opened(awaiter):
    stage, found = Takes(), []
    stage.open = lambda: found.append(stage.level)
    open_stage(stage, awaiter, {"level": 7})
    assert found == [7]
    with pytest.raises(MethodRaisedError, match=r"Takes\.set_parameters\(\) raised ValueError"):
        open_stage(stage, awaiter, {"level": -1})
    assert awaiter.closed == 1


def test_set_parameters_of_a_listener_has_no_event_loop():
    (problem,) = find_unusable(Takes, "listener")
    assert problem.startswith("set_parameters() is async")
    assert not list(find_unusable(Takes, "operator"))
