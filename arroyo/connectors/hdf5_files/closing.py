"""Closes HDF5 files whose disk is full, which the library alone does not survive.

HDF5 keeps changes in memory. If closing a file can't write them, the library (1.14) leaves its
cache broken, and the process dies of SIGSEGV, there or at its end. Before such a file is closed,
its descriptor is therefore exchanged for a file in memory, where there is room: on the disk nothing
changes any more, as if the process had been killed, and the library can finish.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import h5py


@contextlib.contextmanager
def closing(file: h5py.File) -> Iterator[None]:
    """Flush and close a file at the end of the block; after an error only close it."""
    with contextlib.ExitStack() as failing:
        failing.callback(close_unwritten, file)
        yield
        file.flush()
        failing.pop_all()
    file.close()


def close_unwritten(file: h5py.File) -> None:
    """Close a file, and drop what the library has not written."""
    elsewhere = os.memfd_create("hdf5")
    try:
        os.dup2(elsewhere, file.id.get_vfd_handle(), inheritable=False)
    finally:
        os.close(elsewhere)
    with contextlib.suppress(OSError, RuntimeError):  # what fails to be written was to be dropped
        file.close()
