"""`next_incarnation`: the number of each life of a replica, greater than those of all before.

Neighbours take a smaller number for an earlier life and turn it away, so it must not follow a
clock that is set back. A file in the state directory has two slots, in disk sectors of their own:

- the bound: no life has had a number from here on. It is on the disk before the number is used.
- the last number, with the boot in which it was given out. This is not forced to the disk, which
  a stage that is replaced would wait for; a power cut ends the boot, and then the bound counts.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TypeVar

import msgspec

from arroyo.durable.frames import UNREADABLE, FileKind
from arroyo.durable.mapped_slots import MappedSlots

LIFE = 2**32
"""Numbers that belong to one life: it counts its links and epochs up from its own."""
RESERVE = 2**48
"""The bound is raised by this much at a time: 3 days of a clock in ns, or 65,536 lives."""

_SECTOR_BYTES = 512
_KIND = FileKind(b"LIFE", 1)
_BOUND, _LAST = 0, 1
T = TypeVar("T")
_log = logging.getLogger(__name__)


def next_incarnation(path: Path, clock_ns: int, boot: bytes | None = None) -> int:
    """Return the number of the life that begins now, and note it in the file at `path`.

    The caller holds the replica's lock.

    `clock_ns`: the wall clock, in ns: numbers follow it as long as it goes forward.
    `boot`: 16 bytes that name this boot of the machine; None: ask the kernel.

    ConfigurationError: the file is of another version.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        slots = MappedSlots(path, _KIND, 2, _SECTOR_BYTES)
        with contextlib.closing(slots):
            return _begin(slots, clock_ns, boot or _this_boot())
    except OSError as error:
        # Where the clock is right the number is, too: better that than no stage.
        _log.warning(
            "the number of this life can't be noted in %s: %s; should the clock be set back, this "
            "stage may not find its neighbours. Make room on its disk",
            path,
            error.strerror,
        )
        return clock_ns


def _begin(slots: MappedSlots, clock_ns: int, boot: bytes) -> int:
    bound = _read(slots, _BOUND, int, 0)
    last_boot, last = _read(slots, _LAST, tuple[bytes, int], (b"", 0))
    number = max(clock_ns, last + LIFE if last_boot == boot else bound)
    if number + LIFE > bound:
        slots.write(_BOUND, number + RESERVE)
        slots.sync()
    slots.write(_LAST, (boot, number))
    return number


def _read(slots: MappedSlots, slot: int, type: type[T], nothing: T) -> T:
    body = slots.read(slot)
    try:
        return nothing if body is None else msgspec.msgpack.decode(body, type=type)
    except UNREADABLE:
        return nothing


def _this_boot() -> bytes:
    text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    return bytes.fromhex(text.strip().replace("-", ""))
