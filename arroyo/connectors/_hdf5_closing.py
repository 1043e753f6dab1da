"""Close HDF5 files whose disk is full, which the library alone does not survive.

HDF5 keeps changes in memory. Where closing a file can't write them, the library (1.14) leaves its
cache broken and the process dies of SIGSEGV, there or at its end. Before it closes such a file,
its descriptor is therefore exchanged for a file in memory, where there is room: on the disk
nothing changes any more, as if the process had been killed, and the library comes to its end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import h5py


@contextlib.contextmanager
def closing(file: h5py.File) -> Iterator[None]:
    """Write and close a file at the end; after an error only close it."""
    try:
        yield
        file.flush()
    except BaseException:
        close_unwritten(file)
        raise
    file.close()


def close_unwritten(file: h5py.File) -> None:
    """Close a file; what the library has not written yet is dropped."""
    elsewhere = os.memfd_create("hdf5")
    try:
        os.dup2(elsewhere, file.id.get_vfd_handle(), inheritable=False)
    finally:
        os.close(elsewhere)
    with contextlib.suppress(OSError, RuntimeError):  # whatever it misses, it was to be dropped
        file.close()
