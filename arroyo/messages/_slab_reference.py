"""`SlabReference`: travels in place of a payload that is in shared memory."""

from __future__ import annotations

from typing import NamedTuple


class SlabReference(NamedTuple):
    """Location of a payload in shared memory.

    Attributes
    ----------
    pool
        Name of the pool's file.
    offset, length
        Position of the data in the pool, and its length, in bytes.
    generation
        Number in the slab's head for as long as it holds this payload.
    """

    pool: str
    offset: int
    length: int
    generation: int
