"""`begin_life`: the number of each life of a replica, greater than those of all lives before.

Neighbours take a smaller number for an earlier life and turn it away, so it must not follow a
clock that is set back. A file in the state directory holds two places of one disk sector each:

- the bound: no life has had a number from here on. It is on the disk before the number is used.
- the last number, with the boot in which it was given out. This is not forced to the disk, which
  a stage that is replaced would wait for; a power cut ends the boot, and then the bound counts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arroyo.durable.replaced_file import sync_folder

LIFE = 2**32
"""A life counts its links and epochs up from its number; so many are its own."""
RESERVE = 2**48
"""So much is taken at a time (3 days of a clock in ns, or 65,536 lives in a row)."""

_SECTOR_BYTES = 512
_BOUND = struct.Struct(">Q")
_LAST = struct.Struct(">16sQ")
_CHECKSUM = struct.Struct(">I")
_log = logging.getLogger(__name__)


def begin_life(path: Path, clock_ns: int, boot: bytes | None = None) -> int:
    """Return the number of the life that begins now, and note it in the file at `path`.

    The caller holds the replica's lock.

    Parameters
    ----------
    path
        The file, made where missing.
    clock_ns
        The wall clock, in ns: numbers follow it as long as it goes forward.
    boot
        16 bytes that name this boot of the machine; None: ask the kernel.
    """
    try:
        with _opened(path) as descriptor:
            return _begin(descriptor, path, clock_ns, boot or _this_boot())
    except OSError as error:
        # Where the clock is right the number is, too: better that than no stage.
        _log.warning(
            "the number of this life can't be noted in %s: %s; should the clock be set back, this "
            "stage may not find its neighbours. Make room on its disk",
            path,
            error.strerror,
        )
        return clock_ns


def _begin(descriptor: int, path: Path, clock_ns: int, boot: bytes) -> int:
    (bound,) = _read(descriptor, 0, _BOUND) or (0,)
    last_boot, last = _read(descriptor, _SECTOR_BYTES, _LAST) or (b"", 0)
    earlier = last + LIFE if last_boot == boot else bound
    number: int = max(clock_ns, earlier)
    if number + LIFE > bound:
        _write(descriptor, 0, _BOUND.pack(number + RESERVE))
        os.fsync(descriptor)
        sync_folder(path.parent)
    _write(descriptor, _SECTOR_BYTES, _LAST.pack(boot, number))
    return number


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, at: int, layout: struct.Struct) -> tuple[Any, ...] | None:
    body = os.pread(descriptor, layout.size, at)
    checksum = os.pread(descriptor, _CHECKSUM.size, at + layout.size)
    if len(body) < layout.size or checksum != _CHECKSUM.pack(zlib.crc32(body)):
        return None
    return layout.unpack(body)


def _write(descriptor: int, at: int, body: bytes) -> None:
    os.pwrite(descriptor, body + _CHECKSUM.pack(zlib.crc32(body)), at)


def _this_boot() -> bytes:
    text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    return bytes.fromhex(text.strip().replace("-", ""))
