"""`DirectoryListener`: each new file of a directory becomes an Event, once, when it is complete.

`complete_files` decides which files are complete; this module lists and reads them.
Polling works on every file system, NFS included, and needs no library.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path, PurePath
from typing import ClassVar, Literal, get_args

from arroyo.codec import PAYLOAD_BYTES_MAX
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.identifiers import digest
from arroyo.messages import Event, Start, Stop
from arroyo.stages import Listener, Processor

from .complete_files import CompleteFiles, Stamp
from .file_journal import FileEntry, FileJournal
from .images import UNREADABLE, load_readers, read_array

Content = Literal["bytes", "array", "path"]

_log = logging.getLogger(__name__)


class DirectoryListener(Listener):
    """Reports each file of a directory once, when it is complete.

    A file is complete when it is not empty and its size and modification time have been the same
    for `settle_s`. Files that become complete together come in the order of their modification
    time, then of their name. A file that is changed later is not reported again; one that is
    deleted and made anew is. Names that begin with a dot are ignored (programs that copy use them
    for unfinished files), unless the pattern asks for them.

    `start()` makes one run: a Start with ``directory`` and ``pattern``, an Event per file, and at
    the end, or when it is stopped, a Stop with ``files``, ``rejected`` and ``vanished`` (counted
    by this process). The metadata of an Event are ``filename``, ``path`` (absolute), ``size``
    (bytes) and ``mtime`` (s since 1970). Its token is a number.

    A file that can't be read is logged as a WARNING and counted in `rejected`; one that is deleted
    before it is read is counted in `vanished`. The listener goes on in both cases, and also when
    the directory can't be listed for a while (a file server that restarts).

    **It is replayable.** In a process of its own it keeps a journal in the chain's state
    directory, and goes on where it was after any death and any stop: files that every sink has
    finished are not reported again; those in flight come first, in their old order; new ones
    follow. A killed process continues its run, a stopped one begins another. A file that was
    changed since it was reported, or made anew, is a new file after a restart; one in flight that
    is gone or changed is counted in `vanished` and named in the Stop's totals. The log names the
    journal: remove it, with the chain stopped, to have all files reported again. A damaged journal
    is set aside with a warning.

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
        Whether files that exist at the start are reported too. By default they are: those that
        came while the chain was down would be missed otherwise.
    settle_s
        How long a file must have been unchanged, in s. More than the longest pause of a writer.
    poll_s
        Interval between two looks, in s.
    stop_after_idle_s
        For a finite data set: finish when no file has come or changed for this long, in s; 0
        finishes as soon as all files are reported. By default the listener never finishes.
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
        """Check that the directory can be listed and its files read; ConfigurationError if not."""
        directory = self._directory.absolute()
        try:
            os.scandir(directory).close()
        except (OSError, ValueError) as error:  # a path with a zero byte is no path
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(
                f"the directory {directory} can't be listed: {reason}; "
                "make it, or change the option directory"
            ) from error
        if self._read == "array":
            load_readers(self._pattern)

    def open(self) -> None:
        """Open the journal and list the directory: `existing` is about the files that it has now.

        ConfigurationError: as for `preflight`. UnavailableError: the journal can't be written.
        """
        self.preflight()
        self._directory = self._directory.absolute()
        self._complete_files = CompleteFiles(self._settle_s, self._take_stock())

    def _take_stock(self) -> set[str]:
        """Open the journal; return the files that must not be reported as new ones."""
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
        """Report files until `stop()`, or until the directory has been idle as long as asked."""
        self.operator.process(Start({"directory": str(self._directory), "pattern": self._pattern}))
        for path, entry in self._journal.in_flight:
            if self._stopping.is_set():
                return  # in mid-run; the next process reports what is left
            self._report_again(path, entry)
        active_s = time.monotonic()
        while not self._stopping.is_set():
            now_s = time.monotonic()
            stamps = self._look()
            complete = self._complete_files.update(stamps, now_s) if stamps is not None else ()
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
        """Note that every sink has finished a file; UnavailableError if that can't be written."""
        self._journal.finish(token)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _is_finished(self, active_s: float, now_s: float) -> bool:
        if self._stop_after_idle_s is None or self._complete_files.pending:
            return False
        return now_s - max(active_s, self._complete_files.changed_s) >= self._stop_after_idle_s

    def _list(self) -> set[str]:
        """Return the absolute paths of all files and folders that match."""
        hidden = PurePath(self._pattern).name.startswith(".")
        found = self._directory.glob(self._pattern)
        return {str(path) for path in found if hidden or not path.name.startswith(".")}

    def _look(self) -> dict[str, Stamp] | None:
        """Return the stamps of unreported files; None while the directory can't be listed."""
        try:
            os.scandir(self._directory).close()  # glob() would find nothing, and raise nothing
            names = self._list()
        except OSError as error:
            if self._reachable:
                _log.warning("%s can't be listed now: %s", self._directory, error.strerror)
            self._reachable = False
            return None
        self._reachable = True
        self._journal.forget(names)
        stamps = ((name, stamp_of(name)) for name in self._complete_files.unreported(names))
        return {name: stamp for name, stamp in stamps if stamp is not None}

    def _report(self, path: str) -> None:
        found = self._read_event(path)
        if found is not None:
            self._hand_over(path, found[0], self._journal.hand_over(path, found[1]))

    def _report_again(self, path: str, entry: FileEntry) -> None:
        """Report a file that was in flight, unless it is gone or changed."""
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
        except UNREADABLE as error:
            self._reject(path, error)
        return None

    def _reject(self, path: str, error: Exception) -> None:
        self.rejected += 1
        _log.warning("%s can't be read and is left out: %s", ascii(path), error or repr(error))

    def _event(self, path: str) -> tuple[Event, Stamp]:
        file = Path(path)
        path.encode()  # raises for a name that is not text, which can't be sent
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
        return Event.from_array(read_array(file, self.allocate), **metadata), stamp


def stamp_of(path: str) -> Stamp | None:
    """Return a file's stamp; None if it is gone or not a regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116  (thousands of them at each look)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)
