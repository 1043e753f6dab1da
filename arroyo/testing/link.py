"""`InMemoryLink`: runs an operator and its publishers as in a chain, in the test's own thread."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arroyo.codec import MessageCodec
from arroyo.config.graph import Chain, Input, Stage
from arroyo.errors import ArroyoError
from arroyo.links.link_events import BackRecordReceived
from arroyo.messages import Message
from arroyo.protocol.values.actions import Action
from arroyo.runner.assembly.sources import make_source
from arroyo.runner.cooperative_scheduler import CooperativeScheduler, MemoryContext
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.intake.window_counts import Counts
from arroyo.runner.process.stage_context import Wait
from arroyo.runner.process.stage_process import make_shell
from arroyo.runner.user_code.methods import MethodRaisedError
from arroyo.stages import Operator, Publisher

from .stages import RecordingPublisher


class InMemoryLink:
    """Carries messages through an operator to publishers, and treats them as a chain does.

    They are encoded and decoded, get their `origin`, and payloads arrive read-only. A Start and a
    Stop go through once. `process` raises what a stage raises. Use it as a context manager, which
    opens and closes the stages; a listener takes it in place of an operator.

    Parameters
    ----------
    operator
        The operator under test.
    publishers
        Publishers of its results; none: a `RecordingPublisher`, which is `published`.
    types
        Users' own message types.
    source
        Name of the listener in the messages' origin.
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
        """Errors that stages have raised since the last message was handed over."""

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
        self._scheduler = CooperativeScheduler(chain)
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
        with _as_raised(), contextlib.ExitStack() as closing:
            closing.callback(self._scheduler.close)
            for name, each in [*made.items(), ("operator", operator)]:
                self._scheduler.begin(name, make_shell(self._context(name), each))
            self._scheduler.begin(source.name, self)
            closing.pop_all()
        return self

    def _context(self, stage: str) -> MemoryContext:
        context = _Context(self._scheduler, stage, Path(os.devnull, "none"))
        context.codec = MessageCodec(self._types)
        context.failures = self._failures
        return context

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # All stages are closed, even if one raises.
        with _as_raised(), contextlib.closing(self._scheduler):
            if error is None:
                self._perform(self._source.finish(time.monotonic()))
                self._carry(flush=True)

    def process(self, message: Message, token: Any = None) -> None:
        """Carry one message through all stages.

        Raises
        ------
        EncodeError
            It can't be sent.
        StageFailedError
            A stage has raised an error, which is the cause.
        """
        self._window.process(message)
        intake = self._window.take()
        assert intake is not None
        self._window.release(1, intake.size)
        self._perform(self._source.accept(intake, time.monotonic()))
        self._carry()

    def process_all(self, messages: Iterable[Message]) -> list[Message]:
        """Carry messages through all stages, flush, and return what was published so far."""
        for message in messages:
            self.process(message)
        self._carry(flush=True)
        return self.published.messages

    def _carry(self, *, flush: bool = False) -> None:
        """Let all stages work until none has anything to do."""
        with _as_raised():
            while True:
                while self._scheduler.run_next() <= 0:
                    pass
                # A run can only end when all of it is finished.
                ends = self._source.open_runs is None or self._source.blocked
                if not (flush or ends) or not self._scheduler.flush():
                    break
            if self._failures:
                failure, self._failures[:] = self._failures[0], []
                raise failure

    def steps(self) -> Generator[Wait, None, None]:
        """Do as `Shell.steps`, for the source."""
        self._perform(self._source.connect())
        while not self._source.ended:
            yield Wait(math.inf)
            for event in self._scheduler.links[self._source_name].poll(None):
                if isinstance(event, BackRecordReceived):
                    self._perform(self._source.record(event.record, time.monotonic()))

    def _perform(self, actions: Iterable[Action]) -> None:
        self._scheduler.links[self._source_name].perform(actions)

    def _new_run(self) -> str:
        self._runs += 1
        return f"run{self._runs}"


class _Context(MemoryContext):
    """A stage that goes on after an error, which `process` raises to the test."""

    failures: list[ArroyoError]

    def endure(self, error: ArroyoError, attempt: int) -> bool:
        """Keep the error for the test."""
        self.failures.append(error)
        return True


def _stage(name: str, role: Any, made: object, above: str) -> Stage:
    kind = type(made)
    target = f"{kind.__module__}:{kind.__qualname__}"
    return Stage(name, role, target, inputs=(Input(above),), on_error="crash")


@contextlib.contextmanager
def _as_raised() -> Iterator[None]:
    """Raise errors of `open()`, `flush()` or `close()` as if the test had called these."""
    try:
        yield
    except MethodRaisedError as error:
        assert error.__cause__ is not None
        raise error.__cause__ from None
