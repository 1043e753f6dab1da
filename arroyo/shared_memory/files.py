"""Files of slab pools: their names, the words of their heads, and the removal of old ones.

A pool is a file in /dev/shm that only its user can open, named after the chain, the replica and the
incarnation. `pool` is the sender's side of it, `slab_reader` a receiver's.
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
"""Words of a pool's head: the magic number, and how many of its bytes have memory."""
FIRST_SLAB = 4096
"""Offset of the first slab. The page before has the head, and readers' leases (see `leases`)."""
GENERATION, LENGTH, SOURCE, EPOCH, SEQUENCE = range(5)
"""Words of a slab's head; those from SOURCE on are for debugging."""


def pool_prefix(run_directory: Path) -> str:
    """Return the prefix of the names of all pools of the chain with this run directory."""
    place = f"{os.geteuid()}:{run_directory.resolve()}"
    return f"arroyo-{digest(os.fsencode(place))}-"


def pool_name(prefix: str, replica: ReplicaName, incarnation: int) -> str:
    """Return the name of the pool of one incarnation of a replica."""
    return f"{prefix}{replica}-{incarnation}"


def sweep(
    prefix: str,
    is_owner_alive: Callable[[ReplicaName], bool],
    directory: Path = SHARED_MEMORY,
) -> list[str]:
    """Remove a chain's pools whose owners are gone, and return their names.

    A replica that starts counts as gone, since its pools are from earlier lives. It has to hold its
    lock before it makes its pool: the names are read first, the locks after that, so a pool made
    meanwhile is never removed.
    """
    names = sorted(path.name for path in directory.glob(f"{prefix}*"))
    removed = []
    for name in names:
        replica = owner_of(name, prefix)
        if replica is None or is_owner_alive(replica):
            continue
        # Another process sweeps too, or another user has made a file of this name.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            (directory / name).unlink()
            removed.append(name)
    return removed


def owner_of(pool: str, prefix: str) -> ReplicaName | None:
    """Return the replica in the name of a pool; None if it is no pool of this chain."""
    replica, _, incarnation = pool.removeprefix(prefix).rpartition("-")
    if not pool.startswith(prefix) or not incarnation.isdecimal():
        return None
    try:
        return ReplicaName.parse(replica)
    except ValueError:
        return None


def unmap(mapped: mmap.mmap, *views: memoryview) -> None:
    """Release a mapping and our own views of it."""
    for view in views:
        view.release()
    # Other views keep the memory mapped; it is unmapped with the last of them.
    with contextlib.suppress(BufferError):
        mapped.close()
