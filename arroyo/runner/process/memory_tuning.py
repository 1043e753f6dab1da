"""`tune_memory`: sets up garbage collector and heap for what a stage allocates, time and again."""

from __future__ import annotations

import ctypes
import gc

GARBAGE_OBJECTS = 20_000
"""The garbage collector runs after this number of new objects. A batch of 1,024 messages makes
about 6,000, which are all gone at its end: no reason to collect. The largest batches, of 4,096, are
worth one collection; with a higher number, cycles of users' code that hold arrays live longer."""
HEAP_BYTES = 32 * 1024 * 1024
"""Allocations up to this size come from the heap: batches, and the arrays of users' code. A larger
one is new memory from the kernel each time. This is the maximum of glibc, and where its dynamic
threshold ends up as well; setting either of these switches that off."""
SPARE_BYTES = 256 * 1024 * 1024
"""Free memory that a stage keeps, in bytes: a few temporary arrays of the largest size. It would
return them to the kernel and ask for them again with each message."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def tune_memory() -> None:
    """Exempt what is loaded now from garbage collection, and keep freed memory in the process.

    Called once, when a stage is ready: what its start has freed goes back to the kernel, half a MiB
    of it. A C library other than glibc is left as it is.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, HEAP_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
        libc.malloc_trim(0)
