"""`SenderContext`: what all parts of a sender know of its replica and of the chain. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.values.actions import Emit
from arroyo.protocol.values.history import History
from arroyo.protocol.values.paths import Terminal


class SenderContext(NamedTuple):
    """Where a sender stands, and what it says things to."""

    name: ReplicaName
    incarnation: int
    terminals: Sequence[Terminal]
    """Where each path ends."""
    downstream: Downstream
    ordered: bool
    """Whether a stage below wants the order of the source."""
    emit: Emit
    history: History
