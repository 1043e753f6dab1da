"""`SlabPages`: a reader's mapping of a pool, whose slabs can be made private in place.

Python's `mmap` can do neither of the two things that are needed here: notice the end of the last
view of a slab, however that was made (numpy arrays, slices and casts share one buffer), and replace
pages under views that are in use.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias

_MAP_FAILED = ctypes.c_void_p(-1).value
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_size, _pointer = ctypes.c_size_t, ctypes.c_void_p
_libc.mmap.restype = _libc.mremap.restype = _pointer
_libc.mmap.argtypes = _pointer, _size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
_libc.mremap.argtypes = _pointer, _size, _size, ctypes.c_int, _pointer
_libc.mprotect.argtypes = _pointer, _size, ctypes.c_int
_libc.munmap.argtypes = _pointer, _size

LentSlabs: TypeAlias = Any
"""The object behind all views of slabs that were lent together; it dies with the last view."""


class SlabPages:
    """A mapping of a pool, unmapped when nothing refers to it any more.

    `descriptor`, `size`: the pool's file, and the number of bytes to map.
    `writable`: whether `words` can be written.
    """

    def __init__(self, descriptor: int, size: int, *, writable: bool = False) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = _map(size, protection, mmap.MAP_SHARED, descriptor)
        self._address = address
        # A type for each size; made once, since that takes longer than all the rest.
        self._type: Any = ctypes.c_ubyte * size
        unmap = weakref.finalize(self, _libc.munmap, address, size)
        unmap.atexit = False  # a mapping in use stays until the very end
        self.size = size
        words = memoryview(self._type.from_address(address)).cast("B").cast("Q")
        self.words = words if writable else words.toreadonly()
        """The pool in words of 8 bytes, valid as long as this object."""

    def lend(self, places: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return views of slabs, each from offset to end.

        The loan is their `obj`, and that of all views made of them.
        """
        lent: LentSlabs = self._type.from_address(self._address)
        lent.places = self, places  # as one, since each attribute takes time
        pool = memoryview(lent).cast("B").toreadonly()
        return [pool[offset:end] for offset, end in places]


def lent_slabs(payload: Any) -> LentSlabs | None:
    """Return the loan behind a payload; None if it is not in a pool."""
    found = payload.obj if type(payload) is memoryview else None
    return found if hasattr(found, "places") else None


def make_private(lent: LentSlabs) -> None:
    """Replace the pages of slabs by private ones with the same content, under existing views.

    All pages of a slab are replaced at once, so no thread sees a mixture. No slab may have been
    given back. Other data on the same pages is private from then on as well, so nothing new may
    be read through this mapping.

    OSError: there is no memory.
    """
    pages, places = lent.places
    for offset, end in places:
        _make_private(pages._address, offset, end)


def _make_private(address: int, offset: int, end: int) -> None:
    page = mmap.PAGESIZE
    start = address + offset // page * page
    size = address - (-end // page * page) - start
    copy = _map(size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    ctypes.memmove(copy, start, size)
    flags = _MREMAP_MAYMOVE | _MREMAP_FIXED
    if (
        _libc.mprotect(copy, size, mmap.PROT_READ)
        or _libc.mremap(copy, size, size, flags, start) == _MAP_FAILED
    ):
        error = _last_error()
        _libc.munmap(copy, size)
        raise error


def _map(size: int, protection: int, flags: int, descriptor: int) -> int:
    address: int = _libc.mmap(None, size, protection, flags, descriptor, 0)
    if address == _MAP_FAILED:
        raise _last_error()
    return address


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
