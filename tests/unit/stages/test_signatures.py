"""What users' methods are called with, against their signatures."""

import functools

import pytest

from arroyo.stages import explain_signature


def wrapped(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments, "connection")

    return call


class Right:
    def process(self, message):
        yield message

    async def publish(self, *messages):
        pass

    @staticmethod
    def process_batch(messages, *, retries=3):
        pass

    @classmethod
    def publish_batch(cls, messages, retries=3):
        pass

    @wrapped
    def poll(self, timeout_s, connection):
        pass

    acknowledge = functools.partialmethod(process)
    acknowledge_batch = print
    parse = functools.lru_cache(process)
    close = int

    def open(*everything):
        pass


@pytest.mark.parametrize("method", [*(name for name in vars(Right) if name[0] != "_"), "start"])
def test_a_method_that_can_be_called_has_no_mistake(method):
    for stage in (Right, Right()):
        assert explain_signature(stage, method) is None


class FromElsewhere(type):
    def __getattr__(cls, name):
        return lambda: None


def test_what_a_class_gets_from_elsewhere_is_not_known():
    assert explain_signature(FromElsewhere("Made", (), {}), "process") is None


class Wrong:
    def process(self):
        pass

    def publish(message):  # noqa: N805  (a mistake that many make)
        pass

    def process_batch(self, messages, calibration) -> list[None]:
        pass

    async def acknowledge_batch(self, *, tokens):
        pass

    def poll():
        pass

    def close():
        pass

    def flush(*, path="rates.txt"):
        pass

    def set_parameters(self, **parameters):
        pass

    @staticmethod
    def parse(topic, frames):
        pass

    def open(self, path):
        pass


@pytest.mark.parametrize(
    ("method", "mistake"),
    [
        (
            "process",
            "process() is called with one message: too many positional arguments; "
            "write def process(self, message)",
        ),
        ("publish", "publish() is called with one message: too many positional arguments; "),
        (
            "process_batch",
            "process_batch(messages, calibration) is called with one list of messages: missing a ",
        ),
        ("acknowledge_batch", "acknowledge_batch(*, tokens) is called with one list of tokens: "),
        ("poll", "poll() takes no self; write def poll(self, timeout_s)"),
        ("close", "close() takes no self; write def close(self)"),
        ("flush", "flush() takes no self; write def flush(self)"),
        ("set_parameters", "set_parameters(**parameters) is called with one dict of parameters: "),
        ("parse", "parse(topic, frames) is called with a list of frames: missing a required "),
        (
            "open",
            "open(path) is called without arguments: missing a required argument: 'path'; "
            "write def open(self)",
        ),
    ],
)
def test_one_that_can_not_is_told_with_what_it_is_called_with(method, mistake):
    for stage in (Wrong, Wrong()):
        assert explain_signature(stage, method).startswith(mistake)
