"""Where a message comes from. The framework fills it in; nobody else makes one."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Fragment: TypeAlias = tuple[tuple[int, int], ...]
"""Which part of a split message: (index, count) per split on the way, outermost first."""


class Origin(NamedTuple):
    """Where a message comes from, the same on every delivery of it.

    Attributes
    ----------
    run
        Name of the run. Events without a Start belong to a run of their own making.
    source
        The listener's replica, ``STAGE.R``.
    epoch
        Number of the life of the source in which `sequence` counts.
    sequence
        Position among the messages of the run, from 0; Start and Stop have -1.
        With filters it has gaps, with fragments repeats.
    path
        Number of the way through the graph, when more than one leads to this stage.
    fragment
        Empty, or which part of the source's message this is.
    """

    run: str
    source: str
    epoch: int
    sequence: int
    path: int = 0
    fragment: Fragment = ()


def origin_key(origin: Origin, control: str = "") -> str:
    """Return the text that names a message; see `Message.key`. `control`: start or stop."""
    place = str(origin.sequence) if origin.sequence >= 0 else control
    parts = "".join(f".{index}" for index, _ in origin.fragment)
    path = f"@{origin.path}" if origin.path else ""
    return f"{origin.source}/{origin.run}/{place}{parts}{path}"
