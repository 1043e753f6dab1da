"""A payload's place in shared memory, as messages carry it instead of the payload."""

from __future__ import annotations

from typing import NamedTuple


class SlabReference(NamedTuple):
    """Tells another process where a payload lies.

    Attributes
    ----------
    pool
        Name of the pool's file.
    offset, length
        Where the data begins in the pool, and how long it is, in bytes.
    generation
        What the slab's head says for as long as the payload lies there.
    """

    pool: str
    offset: int
    length: int
    generation: int
