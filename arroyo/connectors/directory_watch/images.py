"""Images from files: TIFF by tifffile, .npy by numpy. Both libraries are loaded when needed."""

from __future__ import annotations

import logging
import math
import struct
import tokenize
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from arroyo.connectors.extras import needed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

Allocate: TypeAlias = "Callable[[tuple[int, ...], Any], NDArray[Any]]"
"""Makes an array of a shape and a numpy type, as `AllocatingStage.allocate` does."""

# What numpy and tifffile raise for a file that is broken or of a kind that they don't know.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
)
# A damaged header may announce an image that no machine has the memory for.
_PLAUSIBLE_BYTES = 256 * 2**20
_PACKED_BY_MOST = 1000


def load_readers(pattern: str) -> None:
    """Load what `read_array` needs for files of `pattern`; ConfigurationError if it is missing."""
    with needed_for("reading images", "images"):
        import_module("numpy")
        if not pattern.endswith(".npy"):
            import_module("tifffile")
            logging.getLogger("tifffile").addFilter(_lower)


def _lower(record: logging.LogRecord) -> bool:
    """Make a WARNING of what tifffile says of a broken image: the stage itself has no error."""
    record.levelno = min(record.levelno, logging.WARNING)
    record.levelname = logging.getLevelName(record.levelno)
    return True


def read_array(path: Path, allocate: Allocate) -> NDArray[Any]:
    """Read an image: .tif, .tiff (all pages, if of one shape) or .npy; the array is read-only.

    `allocate`: makes the array that the file is read into, where it can be read as it is.

    ValueError: the file's name has another ending. A broken file raises one of `UNREADABLE`.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = _read_npy(path, allocate)
    elif suffix in (".tif", ".tiff"):
        array = _read_tiff(path, allocate)
    else:
        raise ValueError(f"arrays are read from .tif, .tiff and .npy, not from {suffix or 'this'}")
    # Read-only, so that the chain need not copy it.
    array.setflags(write=False)
    return array


def _read_npy(path: Path, allocate: Allocate) -> NDArray[Any]:
    from numpy.lib import format as npy

    with path.open("rb") as file:
        if npy.read_magic(file) == (1, 0):
            shape, fortran_order, dtype = npy.read_array_header_1_0(file)
            length = math.prod(shape) * dtype.itemsize
            left = path.stat().st_size - file.tell()
            if length == left and not fortran_order and not dtype.hasobject:
                array = allocate(shape, dtype)
                # As bytes, since the buffer protocol knows no datetime64.
                if file.readinto(array.reshape(-1).view("u1").data) < length:
                    raise EOFError("it became shorter while it was read")
                return array
    return _load_npy(path)


def _load_npy(path: Path) -> NDArray[Any]:
    """Read a file of a kind that is rare, or say what is wrong with it."""
    import numpy as np

    array: NDArray[Any] = np.asarray(np.load(path, allow_pickle=False))
    return array


def _read_tiff(path: Path, allocate: Allocate) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        image, file_bytes = file.series[0], path.stat().st_size
        if image.nbytes > _PLAUSIBLE_BYTES + _PACKED_BY_MOST * file_bytes:
            raise ValueError(f"{file_bytes} bytes can't hold an image of {image.nbytes} bytes")
        array: NDArray[Any] = image.asarray(out=allocate(image.shape, image.dtype))
        return array
