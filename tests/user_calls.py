"""What tests hand to the calls into users' code."""

import asyncio

from arroyo.codec import MessageCodec
from arroyo.config.graph import Stage
from arroyo.messages import Origin
from arroyo.runner.user_code.current_message import CurrentMessage
from arroyo.runner.user_code.operator_call import OperatorCall
from arroyo.stages import Operator


def current_message(run="r", source="s.0", epoch=1):
    """Nothing yet; messages will be those of a run, by their sequence."""
    made = CurrentMessage([0], [0], [0])
    made.make_origin = lambda sequence, fragment: Origin(run, source, epoch, sequence, 0, fragment)
    return made


def work(messages, first=0):
    """Messages as a batch has them, each with its place in the run."""
    return [(first + place, (), message) for place, message in enumerate(messages)]


def on_one(call, message):
    """What becomes of a single message."""
    [outcome] = call.events(work([message]))
    return outcome


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
    return OperatorCall(
        stage, operator, MessageCodec(()), current_message(), key_field=key_field
    ), operator


def count(outcome):
    """How many messages go on."""
    return len(outcome.items) if hasattr(outcome, "items") else 1


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


def fails_twice(operator, message):
    if operator.calls <= 2:
        raise ValueError("not yet")
    return message


async def later(operator, message):
    return message


class MuteError(Exception):
    """Its text can't be had."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


NOT_ERRORS = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    MuteError(),
]


def names(error):
    return type(error).__name__
