"""What passes between a `Relay` and the code of its stage. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from arroyo.codec import Batch, Reason
from arroyo.messages import Fragment


class Delivery(NamedTuple):
    """A batch for the stage's code, and what the shell got along with it (its frames)."""

    batch: Batch
    content: Any


Work: TypeAlias = tuple[int, Fragment, Any]
"""One message for the stage's code: sequence, fragment, message. A plain tuple, since one with
names takes four times as long to make, and there is one for each message."""


class Output(NamedTuple):
    """What became of a message out of which not exactly one other came.

    The items that go on, or why it ended here; neither: it is finished, and nothing goes on.
    """

    items: Sequence[Any] = ()
    size: int = 0
    reason: Reason | None = None
    keys: Sequence[int] = ()


Outcome: TypeAlias = Any
"""What became of one message: the item that goes on (anything that has a length in bytes), None
where it is finished and nothing goes on, or an `Output`."""


def as_output(outcome: Outcome) -> Output:
    """Return an outcome in its long form."""
    if isinstance(outcome, Output):
        return outcome
    return Output() if outcome is None else Output((outcome,), len(outcome))
