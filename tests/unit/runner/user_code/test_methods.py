"""Methods beside `process()`: awaited, named where they raise, refused where they can't work."""

import pytest

import arroyo
from arroyo.errors import ConfigurationError
from arroyo.runner.user_code.methods import (
    MethodAwayError,
    MethodRaisedError,
    StageMethods,
    UnusableMethodError,
    find_unusable,
)


class Stage:
    """Does what a test says in `open()` and `close()`."""

    def __init__(self, does):
        self.open = self.close = does


class Loop:
    """An `Awaiter` of which only its end is looked at."""

    closed = 0

    def close(self):
        self.closed += 1


def raising(error):
    def does():
        raise error

    return does


def test_a_method_that_is_not_there_is_not_called():
    StageMethods(object()).call("open")


def test_an_async_method_is_awaited():
    done = []

    async def later():
        done.append("opened")

    methods = StageMethods(Stage(later))
    methods.call("open")
    assert done == ["opened"]
    methods.close()
    assert done == ["opened", "opened"]


def test_what_a_method_raises_is_told_with_its_name():
    with pytest.raises(MethodRaisedError, match=r"Stage.open\(\) raised ValueError: no beam"):
        StageMethods(Stage(raising(ValueError("no beam")))).call("open")


def test_what_is_only_away_may_be_tried_again():
    with pytest.raises(MethodAwayError):
        StageMethods(Stage(raising(ConnectionRefusedError("no broker")))).call("open")


def test_an_error_of_arroyo_stays_what_it_is():
    with pytest.raises(ConfigurationError, match="no such port"):
        StageMethods(Stage(raising(ConfigurationError("no such port")))).call("open")


def test_a_generator_has_not_run_and_is_refused():
    with pytest.raises(UnusableMethodError, match=r"Stage.open\(\) returned a generator"):
        StageMethods(Stage(None)).finish((each for each in "ab"), "open")


def test_the_event_loop_ends_with_the_stage_and_where_it_can_not_open():
    methods = StageMethods(Stage(lambda: None))
    methods.awaiter = loop = Loop()
    methods.open()
    assert loop.closed == 0
    methods.close()
    assert loop.closed == 1
    failing = StageMethods(Stage(raising(ValueError("no"))))
    failing.awaiter = loop
    for call in (failing.open, failing.close):
        with pytest.raises(MethodRaisedError):
            call()
    assert loop.closed == 3


def test_what_close_raises_comes_out_unless_something_has_failed_before(caplog):
    stage = Stage(lambda: None)
    with pytest.raises(MethodRaisedError, match="no shutter"), StageMethods(stage).opened():
        stage.close = raising(ValueError("no shutter"))
    with pytest.raises(KeyError), StageMethods(Stage(lambda: None)).opened():
        raise KeyError
    assert caplog.messages == []
    stage = Stage(lambda: None)
    with pytest.raises(KeyError), StageMethods(stage).opened():
        stage.close = raising(ValueError("no shutter"))
        raise KeyError
    assert caplog.messages == ["Stage.close() raised ValueError: no shutter"]


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


class TakesNothing(arroyo.PollingListener):
    folds = True

    def process(self):
        pass

    def publish(self):
        pass

    def poll(self):
        pass

    def acknowledge(self):
        pass

    def held(self, message):
        pass


@pytest.mark.parametrize(
    ("role", "methods"),
    [
        ("listener", ["acknowledge", "poll"]),
        ("operator", ["process", "held"]),
        ("publisher", ["publish"]),
    ],
)
def test_methods_that_can_not_be_called_with_what_they_are_given_are_found(role, methods):
    found = list(find_unusable(TakesNothing, role))
    assert [each.partition("(")[0] for each in found] == methods
    assert all("is called with" in each for each in found)


class HasMethodsOfItsOwn:
    """Their names mean something only in a PollingListener, IteratingListener or fold."""

    def poll(self):
        pass

    def messages(self, count):
        pass

    def held(self, key):
        pass

    def set_parameters(self, gain, offset):
        pass


@pytest.mark.parametrize("role", ["listener", "operator", "publisher"])
def test_methods_that_nobody_calls_take_what_they_like(role):
    assert list(find_unusable(HasMethodsOfItsOwn, role)) == []


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
            "publish_batch() takes no self; write def publish_batch(self, messages)",
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


def test_parameters_are_attributes():
    stage = Careful()
    StageMethods(stage).set_parameters({"level": 7, "mode": "slow"})
    assert (stage.level, stage.mode) == (7, "slow")


def test_an_attribute_that_refuses_leaves_the_others_as_they_were():
    stage = Careful()
    with pytest.raises(MethodRaisedError, match=r"Careful\.level = -1 raised ValueError: a level"):
        StageMethods(stage).set_parameters({"mode": "slow", "level": -1})
    assert (stage.level, stage.mode) == (0, "fast")


def test_a_class_that_takes_parameters_gets_them_before_it_is_opened():
    stage, found = Takes(), []
    stage.open = lambda: found.append(stage.level)
    methods = StageMethods(stage)
    methods.open({"level": 7})
    assert found == [7]
    with pytest.raises(MethodRaisedError, match=r"Takes\.set_parameters\(\) raised ValueError"):
        methods.open({"level": -1})  # which closes the event loop


def test_set_parameters_of_a_listener_has_no_event_loop():
    (problem,) = find_unusable(Takes, "listener")
    assert problem.startswith("set_parameters() is async")
    assert not list(find_unusable(Takes, "operator"))
