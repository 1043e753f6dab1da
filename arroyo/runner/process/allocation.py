"""`settle`: memory management of a stage, which makes and drops the same things all the time."""

from __future__ import annotations

import ctypes
import gc

GARBAGE_OBJECTS = 20_000
"""So many new objects have the garbage collector look for loops among them. A batch of 1,024
messages is some 6,000, all gone at its end, which is no occasion."""
HEAP_BYTES = 32 * 1024 * 1024
"""Pieces up to this size come from the heap: batches, and the arrays of users' code. A larger piece
is new memory from the kernel each time. It is the most that glibc takes, and where its own
threshold ends up as well, which stands still once one of these is set."""
SPARE_BYTES = 256 * 1024 * 1024
"""So much free memory a stage keeps, or it would give it back and ask for it with each message:
room for a few temporary arrays of the largest size."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Spare the collector what is there to stay, and the kernel the memory of each message.

    Called once, when a stage is ready. Where the C library isn't glibc, its ways stay as they are.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, HEAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
