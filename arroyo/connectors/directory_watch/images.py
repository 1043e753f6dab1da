"""Images from files: TIFF by tifffile, .npy by numpy. Both libraries are loaded when needed."""

from __future__ import annotations

import logging
import struct
import tokenize
import zlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arroyo.connectors.extras import needed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


def read_array(path: Path) -> NDArray[Any]:
    """Read an image: .tif, .tiff (all pages, if of one shape) or .npy; the array is read-only.

    ValueError: the file's name has another ending. A broken file raises one of `UNREADABLE`.
    """
    import numpy as np

    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = np.load(path, allow_pickle=False)
    elif suffix in (".tif", ".tiff"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            image_bytes, file_bytes = file.series[0].nbytes, path.stat().st_size
            if image_bytes > _PLAUSIBLE_BYTES + _PACKED_BY_MOST * file_bytes:
                raise ValueError(f"{file_bytes} bytes can't hold an image of {image_bytes} bytes")
            array = file.asarray()
    else:
        raise ValueError(f"arrays are read from .tif, .tiff and .npy, not from {suffix or 'this'}")
    # Read-only, so that the chain need not copy it.
    array = np.asarray(array)
    array.setflags(write=False)
    return array
