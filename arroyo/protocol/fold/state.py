"""`FoldState`: what a fold has to know in its next life, of the runs that are open. PURE.

It is written down whole before anything is finished above. So the next life gives its outputs the
numbers that they had, and does not take again what is in finished ones, though the source may not
have heard of that.
"""

from __future__ import annotations

import msgspec

from arroyo.messages import Fragment
from arroyo.protocol.values.actions import Persist


class OpenOutputs(msgspec.Struct, frozen=True, array_like=True):
    """The outputs of one run, of which the first `finished` are finished."""

    source: str
    """The source above."""
    run: str
    finished: int


class DoneInputs(msgspec.Struct, frozen=True, array_like=True):
    """Inputs of one source, life and path that are finished, above the source's frontier."""

    source: str
    epoch: int
    path: int
    ranges: tuple[tuple[int, int], ...]
    fragments: tuple[tuple[int, Fragment], ...] = ()


class FoldState(msgspec.Struct, frozen=True, array_like=True):
    """Everything that the next life has to know."""

    outputs: tuple[OpenOutputs, ...] = ()
    inputs: tuple[DoneInputs, ...] = ()
    next_epoch: int = 0
    """Greater than all epochs of the lives so far."""


class NoteFold(Persist, frozen=True):
    """The state of a fold."""

    state: FoldState
