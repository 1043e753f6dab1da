"""`InMemoryLink`: an operator with its publishers, as in a chain but in the test's own thread."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from arroyo.codec import Encoded, Kind, MessageCodec
from arroyo.config.graph import Stage
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message, Start, Stop
from arroyo.protocol.source.input import InputBatch, MakeStop
from arroyo.protocol.values.run_totals import RunTotals, with_totals
from arroyo.runner.routing import Call, Router, SourceRoute
from arroyo.runner.user_code.calls import PublisherCall
from arroyo.runner.user_code.fold_call import operator_call
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
        self._codec = MessageCodec(types)
        self._calls: list[Call] = []
        self._source = source
        self._runs = 0

    def __enter__(self) -> InMemoryLink:
        operator, *publishers = self._stages
        self._calls = [
            operator_call(_stage("operator", operator), operator, self._codec),
            *(PublisherCall(_stage("publisher", each), each) for each in publishers),
        ]
        for call in self._calls:
            call.open()
        ends = {f"publisher{index}": call for index, call in enumerate(self._calls[1:])}
        router = Router(
            {"operator": self._calls[0], **ends}, self._codec, _edges(self._source, ends)
        )
        self._route = SourceRoute(
            ReplicaName(self._source, 0), 0, router, self._new_run, self._early_stop
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as closing:  # all of them, whatever happens to one
            for call in self._calls:
                closing.callback(call.close)
            if error is None:
                self._route.close("the test ended in mid-run")
                self._flush()

    def process(self, message: Message, token: Any = None) -> None:
        """Carry one message all the way.

        Raises
        ------
        EncodeError
            It can't travel.
        StageFailedError
            A stage raised; the cause is what it raised.
        """
        self._route.take(self._intake(message))

    def process_all(self, messages: Iterable[Message]) -> list[Message]:
        """Carry messages all the way, flush, and return what was published so far."""
        for message in messages:
            self.process(message)
        self._flush()
        return self.published.messages

    def _flush(self) -> None:
        for call in self._calls:
            if isinstance(call, PublisherCall):
                call.flush()

    def _intake(self, message: Message) -> InputBatch:
        encoded = self._codec.encode(message)
        if isinstance(message, Stop):
            return InputBatch(Kind.STOP, make_stop=lambda totals: self._stop(message, totals))
        kind = Kind.START if isinstance(message, Start) else Kind.EVENTS
        return InputBatch(kind, [encoded], [None], len(encoded))

    def _stop(self, stop: Stop, totals: RunTotals) -> Encoded:
        return self._codec.encode(with_totals(stop, totals))

    def _early_stop(self, reason: str) -> MakeStop:
        return functools.partial(self._stop, Stop({"reason": reason} if reason else {}))

    def _new_run(self) -> str:
        self._runs += 1
        return f"run{self._runs}"


def _stage(role: Any, stage: object) -> Stage:
    kind = type(stage)
    target = f"{kind.__module__}:{kind.__qualname__}"
    return Stage(name=role, role=role, target=target, on_error="crash")


def _edges(source: str, ends: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Links with their path numbers: one path to each publisher."""
    return {
        source: [("operator", 0)],
        "operator": [(name, number) for number, name in enumerate(ends)],
        **{name: [] for name in ends},
    }
