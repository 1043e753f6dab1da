"""What passes between a `Relay` and the code of its stage. PURE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias, overload

import msgspec

from arroyo.codec import Batch, Reason, Returned
from arroyo.messages import Fragment, Origin


class Delivery(msgspec.Struct, frozen=True):
    """A batch for the stage's code, and what the shell received with it (its frames)."""

    batch: Batch
    content: Any


Work: TypeAlias = tuple[int, Fragment, Any]
"""One message for the stage's code: sequence, fragment, message. A plain tuple, since one with
names takes four times as long to make, and there is one for each message."""


class LazyWork(Sequence[Work]):
    """Whole messages in the order of their batch; each `Work` is made when it is asked for."""

    def __init__(self, sequences: Sequence[int], messages: Sequence[Any]) -> None:
        self._sequences = sequences
        self._messages = messages

    def __len__(self) -> int:
        return len(self._sequences)

    @overload
    def __getitem__(self, index: int) -> Work: ...
    @overload
    def __getitem__(self, index: slice) -> LazyWork: ...
    def __getitem__(self, index: int | slice) -> Work | LazyWork:
        if isinstance(index, slice):
            return LazyWork(self._sequences[index], self._messages[index])
        return self._sequences[index], (), self._messages[index]

    def place(self, make_origin: Callable[[int, Fragment], Origin]) -> list[Any]:
        """Return the messages as a list, once each knows its place; quicker than one by one."""
        for sequence, message in zip(self._sequences, self._messages, strict=True):
            message._make_origin = make_origin
            message._origin = sequence
        return list(self._messages)

    def forget(self) -> None:
        """Let go of the messages, where all are done."""
        self._messages = [None] * len(self._sequences)

    def __iter__(self) -> Iterator[Work]:
        return zip(self._sequences, repeat(()), self._messages, strict=False)


class Output(NamedTuple):
    """What became of one message, in the long form: for any number of results but one.

    The items that go on, or why it ended here; neither: it is finished, and nothing goes on.
    """

    items: Sequence[Any] = ()
    size: int = 0
    reason: Reason | None = None
    keys: Sequence[int] = ()


Outcome: TypeAlias = Any
"""What became of one message: the item that goes on (anything that has a length in bytes), None
where it is finished and nothing goes on, or an `Output`. Those of a delivery are a sequence, and
that is a `Body` where one small message came of each."""


def as_output(outcome: Outcome) -> Output:
    """Return an outcome in its long form."""
    if isinstance(outcome, Output):
        return outcome
    return Output() if outcome is None else Output((outcome,), len(outcome))


def all_published(outcomes: Sequence[Outcome]) -> bool:
    """Whether all messages are finished and nothing goes on, the usual case of publishers."""
    # The first one spares operators the look at all.
    return bool(outcomes) and outcomes[0] is None and outcomes.count(None) == len(outcomes)


def origins_of(batch: Batch) -> Callable[[int, Fragment], Origin]:
    """Return a function that makes the origin of a message in a batch, for when it is asked for.

    A message from quarantine has the origin that it had when it was put there.
    """
    if batch.returned is not None:
        return _origins_again(batch, batch.returned)
    run, source, epoch, base, path = batch.run, batch.source, batch.epoch, batch.base, batch.path
    # What `Origin()` does, in half of the time: publishers to brokers ask for that of each message.
    new = tuple.__new__
    return lambda sequence, fragment: new(
        Origin, (run, source, epoch, sequence - base, path, fragment)
    )


def _origins_again(batch: Batch, returned: Returned) -> Callable[[int, Fragment], Origin]:
    place = returned.run, batch.source, returned.epoch, returned.sequence, batch.path
    return lambda _, fragment: Origin(*place, (*returned.fragment, *fragment))
