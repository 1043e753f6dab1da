"""The files that slab pools lie in: their names, what their heads say, and who removes them.

A pool is a file in /dev/shm that only its user can open, named for the chain, the replica and the
replica's life. `slab_pool` is the sender's side of it, `slab_reader` a receiver's.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from arroyo.identifiers import ReplicaName, digest

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (made with O_EXCL, and only one's own are read)

MAGIC_NUMBER = 0x4172726F736C0002
"""First word of a pool, with the layout's version in its low 16 bits."""
MAGIC, BACKED = range(2)
"""Words of a pool's head: what the file is, and how many of its bytes have memory."""
FIRST_SLAB = 4096
"""The page before it has the pool's head, and its readers' leases (see `leases`)."""
GENERATION, LENGTH, SOURCE, EPOCH, SEQUENCE = range(5)
"""Words of a slab's head; those from the source on are for people with a debugger."""


def pool_prefix(run_directory: Path) -> str:
    """Return what the names of all pools of the chain with this run directory begin with."""
    place = f"{os.geteuid()}:{run_directory.resolve()}"
    return f"arroyo-{digest(os.fsencode(place))}-"


def pool_name(prefix: str, replica: ReplicaName, incarnation: int) -> str:
    """Name the pool of one life of a replica."""
    return f"{prefix}{replica}-{incarnation}"


def sweep(
    prefix: str,
    is_owner_alive: Callable[[ReplicaName], bool],
    directory: Path = SHARED_MEMORY,
) -> list[str]:
    """Remove a chain's pools whose owners are gone, and return their names.

    A replica that starts calls itself gone, since what it finds of its own is from earlier lives.
    It has to hold its lock from before it makes its pool: the names are read first and the locks
    asked after that, so a pool made meanwhile is never touched.
    """
    names = sorted(path.name for path in directory.glob(f"{prefix}*"))
    removed = []
    for name in names:
        replica = owner_of(name, prefix)
        if replica is None or is_owner_alive(replica):
            continue
        # Somebody else sweeps too, or another user has put a file of this name there.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            (directory / name).unlink()
            removed.append(name)
    return removed


def owner_of(pool: str, prefix: str) -> ReplicaName | None:
    """Return the replica in a pool's name; None for what is no pool's name of this chain."""
    replica, _, incarnation = pool.removeprefix(prefix).rpartition("-")
    if not pool.startswith(prefix) or not incarnation.isdecimal():
        return None
    try:
        return ReplicaName.parse(replica)
    except ValueError:
        return None


def unmap(mapped: mmap.mmap, *views: memoryview) -> None:
    """Let go of a mapping and of one's own views of it."""
    for view in views:
        view.release()
    # Views that others hold keep the memory mapped; it goes with the last of them.
    with contextlib.suppress(BufferError):
        mapped.close()
