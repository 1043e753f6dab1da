"""`InMemoryLink`: an operator with its publishers, as in a chain but in the test's own thread."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from arroyo.codec import MessageCodec
from arroyo.config.graph import Chain, Input, Stage
from arroyo.errors import ArroyoError
from arroyo.links.events import RecordCame
from arroyo.messages import Message
from arroyo.protocol.values.actions import Action
from arroyo.runner.assembly import make_source
from arroyo.runner.intake.input_batch import Counts
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.process.stage_context import Wait
from arroyo.runner.process.stage_process import make_shell
from arroyo.runner.turns import MemoryContext, Turns
from arroyo.runner.user_code.methods import MethodRaisedError
from arroyo.stages import Operator, Publisher

from .stages import RecordingPublisher


class InMemoryLink:
    """Carries messages through one operator to publishers, with all that a chain does to them.

    They are encoded and decoded, get their `origin`, and payloads arrive read-only. Start and
    Stop go through once. What a stage raises comes out of `process`. Use it as a context manager,
    which opens and closes the stages; hand it to a listener in place of an operator.

    Parameters
    ----------
    operator
        The operator under test.
    publishers
        Where its results go; none: into a `RecordingPublisher` that is at `published`.
    types
        Users' own message types.
    source
        Name of the listener that the messages seem to come from.
    """

    def __init__(
        self,
        operator: Operator,
        publishers: Sequence[Publisher] = (),
        *,
        types: Sequence[type[Message]] = (),
        source: str = "test",
    ) -> None:
        self.published = RecordingPublisher()
        self._stages: list[Any] = [operator, *(publishers or [self.published])]
        self._types = types
        self._source_name = source
        self._runs = 0
        self._failures: list[ArroyoError] = []
        """What stages have raised on messages since the last one was handed over."""

    def __enter__(self) -> InMemoryLink:
        operator, *publishers = self._stages
        made = {f"publisher{index}": each for index, each in enumerate(publishers)}
        stages = [
            source := Stage(self._source_name, "listener", "test"),
            _stage("operator", "operator", operator, source.name),
            *(_stage(name, "publisher", each, "operator") for name, each in made.items()),
        ]
        here = Path.cwd()
        chain = Chain("test", here, here / "test", {stage.name: stage for stage in stages})
        self._turns = Turns(chain)
        counts = Counts([0], [0], [0])
        self._window = InputWindow(source, MessageCodec(self._types), None, lambda: None, counts)
        self._source = make_source(
            chain,
            source.names[0],
            epoch=0,
            incarnation=1,
            new_run=self._new_run,
            make_early_stop=self._window.runs.early_stop,
        )
        with _as_it_was(), contextlib.ExitStack() as closing:
            closing.callback(self._turns.close)
            for name, each in [*made.items(), ("operator", operator)]:
                self._turns.begin(name, make_shell(self._context(name), each))
            self._turns.begin(source.name, self)
            closing.pop_all()
        return self

    def _context(self, stage: str) -> MemoryContext:
        context = _Context(self._turns, stage, Path(os.devnull, "none"))
        context.codec = MessageCodec(self._types)
        context.failures = self._failures
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _as_it_was(), contextlib.closing(self._turns):  # all of them, whatever happens to one
            if error is None:
                self._perform(self._source.finish(time.monotonic()))
                self._carry(flush=True)

    def process(self, message: Message, token: Any = None) -> None:
        """Carry one message all the way.

        Raises
        ------
        EncodeError
            It can't travel.
        StageFailedError
            A stage raised; the cause is what it raised.
        """
        self._window.process(message)
        intake = self._window.take()
        assert intake is not None
        self._window.release(1, intake.size)
        self._perform(self._source.accept(intake, time.monotonic()))
        self._carry()

    def process_all(self, messages: Iterable[Message]) -> list[Message]:
        """Carry messages all the way, flush, and return what was published so far."""
        for message in messages:
            self.process(message)
        self._carry(flush=True)
        return self.published.messages

    def _carry(self, *, flush: bool = False) -> None:
        """Have all stages work until none has anything to do."""
        with _as_it_was():
            while True:
                while self._turns.give() <= 0:
                    pass
                # Before the end of a run all of it has to be finished.
                ends = self._source.open_runs is None or self._source.blocked
                if not (flush or ends) or not self._turns.flush():
                    break
            if self._failures:
                failure, self._failures[:] = self._failures[0], []
                raise failure

    def turns(self) -> Generator[Wait, None, None]:
        """Be the source."""
        self._perform(self._source.connect())
        while not self._source.ended:
            yield Wait(math.inf)
            for event in self._turns.links[self._source_name].poll(None):
                if isinstance(event, RecordCame):
                    self._perform(self._source.record(event.record, time.monotonic()))

    def _perform(self, actions: Iterable[Action]) -> None:
        self._turns.links[self._source_name].perform(actions)

    def _new_run(self) -> str:
        self._runs += 1
        return f"run{self._runs}"


class _Context(MemoryContext):
    """A stage that goes on without a message on which it raised, which the test hears."""

    failures: list[ArroyoError]

    def endure(self, error: ArroyoError, attempt: int) -> bool:
        """Have the test hear of it."""
        self.failures.append(error)
        return True


def _stage(name: str, role: Any, made: object, above: str) -> Stage:
    kind = type(made)
    target = f"{kind.__module__}:{kind.__qualname__}"
    return Stage(name, role, target, inputs=(Input(above),), on_error="crash")


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Let through what `open()`, `flush()` or `close()` raised, as if the test had called them."""
    try:
        yield
    except MethodRaisedError as error:
        assert error.__cause__ is not None
        raise error.__cause__ from None
