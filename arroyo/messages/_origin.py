"""`Origin`: where a message comes from. Only the framework makes one."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Fragment: TypeAlias = tuple[tuple[int, int], ...]
"""Part of a split message: (index, count) for each split on its path, outermost first."""


class Origin(NamedTuple):
    """Where a message comes from, the same on every delivery of it.

    Attributes
    ----------
    run
        Name of the run. Events without a Start belong to an implicit run.
    source
        The listener's replica, ``STAGE.R``.
    epoch
        Epoch of the source; each life of a volatile source has its own.
    sequence
        Position among the messages of the run, from 0; Start and Stop have -1.
        With filters it has gaps, with fragments repeats.
    path
        Number of the path through the graph, if several lead to this stage.
    fragment
        Part of the source's message; empty where that was not split.
    """

    run: str
    source: str
    epoch: int
    sequence: int
    path: int = 0
    fragment: Fragment = ()


def origin_key(origin: Origin, control: str = "") -> str:
    """Return the key of a message; see `Message.key`. `control`: start or stop."""
    run, source, _, sequence, path, fragment = origin
    if sequence >= 0 and not fragment and not path:  # nearly all
        return f"{source}/{run}/{sequence}"
    place = str(sequence) if sequence >= 0 else control
    parts = "".join(f".{index}" for index, _ in fragment)
    suffix = f"@{path}" if path else ""
    return f"{source}/{run}/{place}{parts}{suffix}"
