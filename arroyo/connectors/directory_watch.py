"""`DirectoryListener`: each new file of a directory becomes an Event, once, when it is complete.

`_settling` decides which files are complete; what is here lists and reads. Polling works on every
file system, NFS included, and needs no library.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import threading
import time
import tokenize
import zlib
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from arroyo.codec import PAYLOAD_BYTES_MAX
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.identifiers import digest
from arroyo.messages import Event, Start, Stop
from arroyo.stages import Listener, Processor

from ._file_journal import Entry, FileJournal
from ._settling import Settling, Stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

Content = Literal["bytes", "array", "path"]

# What numpy and tifffile raise for a file that is broken or of a kind that they don't know.
_UNREADABLE = (
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
# A damaged header may speak of an image that no machine has the memory for.
_PLAUSIBLE_BYTES = 256 * 2**20
_PACKED_BY_MOST = 1000

_log = logging.getLogger(__name__)


class DirectoryListener(Listener):
    """Reports each file of a directory once, when it is complete.

    A file is complete when it is not empty and its size and modification time have been the same
    for `settle_s`. Files that become complete together come in the order of their modification
    time, then of their name. One that is changed after that is not reported again; one that is
    deleted and made anew is. Names that begin with a dot are left alone (programs that copy use
    them for files under way), unless the pattern asks for them.

    `start()` makes one run: a Start with ``directory`` and ``pattern``, an Event per file, and at
    the end, or when it is stopped, a Stop with ``files``, ``rejected`` and ``vanished`` (counted
    by this process). The metadata of an Event are ``filename``, ``path`` (absolute), ``size``
    (bytes) and ``mtime`` (s since 1970). Its token is a number.

    A file that can't be read is logged as a WARNING and counted in `rejected`; one that is
    deleted before it is read is counted in `vanished`. The listener goes on in both cases, and
    also when the directory can't be listed for a while (a file server that restarts).

    **It is replayable.** In a process of its own it keeps a journal in the chain's state
    directory, and goes on where it was after any death and any stop: files that every sink has
    finished are not reported again, those that were under way are, first and in their old order,
    and those that came meanwhile follow. A killed process goes on with its run, a stopped one
    begins another. A file that was changed since it was reported, or made anew, is a new file
    after a restart; one under way that is gone or changed is counted in `vanished` and named in
    the Stop's totals. The log names the journal: remove it, with the chain stopped, to have all
    files reported again. A journal that is damaged is set aside with a warning.

    There can be one replica only: two would both report each file.

    Parameters
    ----------
    operator
        Gets the messages.
    directory
        Where to look; a relative path means the chain file's folder.
    pattern
        Which files, as in a shell; ``**/*.tif`` also looks into all folders below.
    read
        What an Event carries: ``bytes`` (the file's content), ``array`` (of a .tif, .tiff or
        .npy image) or ``path`` (nothing but the metadata).
    existing
        Whether the files that are there at the start count too. They do by default, since a file
        too many is noticed and one too few is not: those that came while the chain was down
        would be missed.
    settle_s
        How long a file must have been the same, in s. More than the longest pause of a writer.
    poll_s
        Time between two looks, in s.
    stop_after_idle_s
        The directory is a finite data set: finish when for this long no file came or changed, in
        s; 0 finishes as soon as all that is there was reported. By default it never finishes.
    """

    replayable: ClassVar[bool] = True
    shares_input: ClassVar[bool] = False

    def __init__(
        self,
        operator: Processor,
        directory: str,
        pattern: str = "*",
        *,
        read: Content = "bytes",
        existing: bool = True,
        settle_s: float = 1.0,
        poll_s: float = 0.5,
        stop_after_idle_s: float | None = None,
    ) -> None:
        super().__init__(operator)
        if not pattern or PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
            raise ConfigurationError(
                f"pattern is {pattern!r}; expected one below the directory, such as '*.tif'"
            )
        if read not in get_args(Content):
            raise ConfigurationError(f"read is {read!r}; it can be 'bytes', 'array' or 'path'")
        if settle_s < 0 or poll_s <= 0 or (stop_after_idle_s or 0) < 0:
            raise ConfigurationError(
                f"settle_s is {settle_s:g}, poll_s {poll_s:g}, stop_after_idle_s "
                f"{stop_after_idle_s}; times can't be negative, and poll_s not 0"
            )
        self.rejected = 0
        """Files that could not be read."""
        self.vanished = 0
        """Files that were deleted between being seen and being read."""
        self._directory = Path(directory)
        self._pattern = pattern
        self._read: Content = read
        self._existing = existing
        self._settle_s = settle_s
        self._poll_s = poll_s
        self._stop_after_idle_s = stop_after_idle_s
        self._stopping = threading.Event()
        self._reachable = True
        self._files = 0

    def preflight(self) -> None:
        """See that the directory can be listed, and its files read.

        Raises
        ------
        ConfigurationError
            The directory is missing or can't be listed, or a library for images is missing.
        """
        directory = self._directory.absolute()
        try:
            os.scandir(directory).close()
        except OSError as error:
            raise ConfigurationError(
                f"the directory {directory} can't be listed: {error.strerror}; "
                "make it, or change the option directory"
            ) from error
        if self._read == "array":
            load_readers(self._pattern)

    def open(self) -> None:
        """See that the directory can be listed; what is there now is what `existing` is about.

        Raises
        ------
        ConfigurationError
            As `preflight` says.
        UnavailableError
            The journal can't be read or written.
        """
        self.preflight()
        self._directory = self._directory.absolute()
        self._settling = Settling(self._settle_s, self._take_stock())

    def _take_stock(self) -> set[str]:
        """Open the journal; return the files that are not to be reported as new ones."""
        present = self._list()
        path = None
        if self.state_directory is not None:
            place = os.fsencode(self._directory / self._pattern)
            path = self.state_directory / f"files-{digest(place)}"
        self._journal = FileJournal(path)
        self._journal.forget(present)
        if self._journal.is_new and not self._existing:
            for name in present:
                self._journal.ignore(name, stamp_of(name))
            return present
        known = {name for name in present if self._journal.is_known(name, stamp_of(name))}
        if known:
            _log.info("%d files were reported before; the journal is %s", len(known), path)
        return known

    def start(self) -> None:
        """Report files until `stop()`, or until the directory is idle where that was asked for."""
        self.operator.process(Start({"directory": str(self._directory), "pattern": self._pattern}))
        for path, entry in self._journal.under_way:
            if self._stopping.is_set():
                return  # in mid-run; the next life has all that is left
            self._report_again(path, entry)
        active_s = time.monotonic()
        while not self._stopping.is_set():
            now_s = time.monotonic()
            stamps = self._look()
            complete = self._settling.update(stamps, now_s) if stamps is not None else ()
            for path in complete:
                if self._stopping.is_set():
                    break
                self._report(path)
            if complete:
                active_s = time.monotonic()
            if stamps is not None and self._is_finished(active_s, now_s):
                break
            self._stopping.wait(self._poll_s)
        counts = {"files": self._files, "rejected": self.rejected, "vanished": self.vanished}
        self.operator.process(Stop(counts))

    def stop(self) -> None:
        """End after the file in hand."""
        self._stopping.set()

    def acknowledge(self, token: int) -> None:
        """Every sink has finished a file: it need not be reported again.

        Raises
        ------
        UnavailableError
            The journal can't be written.
        """
        self._journal.finish(token)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _is_finished(self, active_s: float, now_s: float) -> bool:
        if self._stop_after_idle_s is None or self._settling.pending:
            return False
        return now_s - max(active_s, self._settling.changed_s) >= self._stop_after_idle_s

    def _list(self) -> set[str]:
        """Name all that matches, by absolute paths; files and folders alike."""
        hidden = PurePath(self._pattern).name.startswith(".")
        found = self._directory.glob(self._pattern)
        return {str(path) for path in found if hidden or not path.name.startswith(".")}

    def _look(self) -> dict[str, Stamp] | None:
        """Take the stamps of the files not reported yet; None while the directory is away."""
        try:
            os.scandir(self._directory).close()  # glob() finds nothing in a directory that is away
            names = self._list()
        except OSError as error:
            if self._reachable:
                _log.warning("%s can't be listed now: %s", self._directory, error.strerror)
            self._reachable = False
            return None
        self._reachable = True
        self._journal.forget(names)
        stamps = ((name, stamp_of(name)) for name in self._settling.unreported(names))
        return {name: stamp for name, stamp in stamps if stamp is not None}

    def _report(self, path: str) -> None:
        found = self._read_event(path)
        if found is not None:
            self._hand_over(path, found[0], self._journal.hand_over(path, found[1]))

    def _report_again(self, path: str, entry: Entry) -> None:
        """Report a file that was under way, unless it is another one by now."""
        found = None
        if stamp_of(path) == entry.stamp:
            found = self._read_event(path)
        else:
            self.vanished += 1
        if found is None:
            self._journal.drop(path)
        else:
            self._hand_over(path, found[0], entry.number)

    def _hand_over(self, path: str, event: Event, number: int) -> None:
        try:
            self.operator.process(event, token=number)
        except EncodeError as error:
            self._journal.drop(path)
            self._reject(path, error)
        else:
            self._files += 1

    def _read_event(self, path: str) -> tuple[Event, Stamp] | None:
        try:
            return self._event(path)
        except FileNotFoundError:
            self.vanished += 1
        except _UNREADABLE as error:
            self._reject(path, error)
        return None

    def _reject(self, path: str, error: Exception) -> None:
        self.rejected += 1
        _log.warning("%s can't be read and is left out: %s", ascii(path), error or repr(error))

    def _event(self, path: str) -> tuple[Event, Stamp]:
        file = Path(path)
        # Names are bytes to the system; one that is no text can't travel. This raises for it.
        path.encode()
        status = file.stat()
        metadata = {
            "filename": file.name,
            "path": path,
            "size": status.st_size,
            "mtime": status.st_mtime,
        }
        stamp = Stamp(status.st_size, status.st_mtime_ns)
        if self._read == "path":
            return Event(metadata), stamp
        if status.st_size > PAYLOAD_BYTES_MAX:
            raise ValueError(f"it has {status.st_size} bytes, expected less than 4 GiB")
        if self._read == "bytes":
            return Event(metadata, file.read_bytes()), stamp
        return Event.from_array(read_array(file), **metadata), stamp


def stamp_of(path: str) -> Stamp | None:
    """Take a file's stamp; None for one that is gone, and for what is no regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116  (thousands of them at each look)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def load_readers(pattern: str) -> None:
    """Load what `read_array` needs for files of `pattern`.

    Raises
    ------
    ConfigurationError
        It is not installed.
    """
    try:
        import_module("numpy")
        if not pattern.endswith(".npy"):
            import_module("tifffile")
            logging.getLogger("tifffile").addFilter(_lower)
    except ImportError as error:
        raise ConfigurationError(
            f"reading images needs {error.name}, which is not installed: "
            'pip install "arroyo[images]"'
        ) from error


def _lower(record: logging.LogRecord) -> bool:
    """Let what tifffile says of a broken image be a WARNING: the stage itself has no error."""
    record.levelno = min(record.levelno, logging.WARNING)
    record.levelname = logging.getLevelName(record.levelno)
    return True


def read_array(path: Path) -> NDArray[Any]:
    """Read an image: .tif, .tiff (all pages, if of one shape) or .npy; the array is read-only.

    Raises
    ------
    ValueError
        The file's name ends otherwise. What a broken file leads to is in `_UNREADABLE`.
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
    # Nobody writes to it any more: the chain need not copy it.
    array = np.asarray(array)
    array.setflags(write=False)
    return array
