"""One run in one NeXus file, open for writing: the rows, and what the Stop says.

Rules: this module does only what SWMR allows (datasets grow and are overwritten), so the file can
be read at any moment, and a kill at any moment leaves it intact. A row is marked as written only
after it is in the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from arroyo.connectors.wire_format import UPSTREAM
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Event, Stop
from arroyo.protocol.values.ranges import RangeSet

from .closing import close_unwritten, closing
from .nexus_layout import (
    CREATOR,
    HOW_TO_OPEN,
    STOP_PIECE_BYTES,
    TOTALS,
    Layout,
    as_array,
    as_json,
    explained,
    split,
)
from .nexus_values import fit
from .superblock import clear_marks

_LOCK_AT = 1 << 62  # a byte that no file has: no other program's lock is in the way


class NexusFile:
    """The file of one run, open for writing. Readers may open and close it at any time.

    `path`: a file that `create` has made, possibly left behind by a killed process.
    `layout`: as it was given to `create`.

    ConfigurationError: another process is writing it.
    UnavailableError: it can't be opened.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.unstored: dict[str, int] = {}
        """Number of metadata values that did not fit those of the run's first event, by key."""
        self.way: tuple[str, int] | None = None
        """Source of its events, and the number of their way through the chain."""
        self._columns = layout.columns
        self._failed = False
        self._pending: dict[int, dict[str, Any]] = {}
        with contextlib.ExitStack() as undo:
            self._lock = take_over(path)
            undo.callback(os.close, self._lock)
            with explained(path):
                self._file = open_for_swmr(path)
                undo.callback(close_unwritten, self._file)
                entry = self._entry = self._file["entry"]
                growing = (
                    item for item in entry["data"].items() if item[1].maxshape[:1] == (None,)
                )
                self._arrays = dict(growing)
                self._scalars = dict(entry["events"].items())
                self._written = entry["written"]
                # A killed writer may have made some of them longer than others.
                self._rows = max(map(len, (self._written, *self._arrays.values())))
                self._grow(self._arrays.values(), self._rows)
            undo.pop_all()

    def put(self, row: int, event: Event) -> None:
        """Write an event into its row, over what is there; durable after the next `flush()`.

        Raises
        ------
        StageError
            Its array differs from those of the run's first event.
        DecodeError
            Its array is broken.
        UnavailableError
            The disk is full, or gone.
        """
        arrays = self._split(row, event)
        with self._writing():
            if row >= self._rows:
                self._grow(self._arrays.values(), row + 1)
                self._rows = row + 1
            for name, array in arrays.items():
                self._arrays[name][row] = array
        self._pending[row] = self._convert(event.metadata)

    def flush(self) -> None:
        """Write all rows to the file, and only then mark them as written."""
        with self._writing():
            self._flush()

    def _flush(self) -> None:
        for dataset in self._arrays.values():
            dataset.flush()
        if self._pending:
            self._write_pending()
        self._file.flush()

    def finish(self, stop: Stop) -> None:
        """Write the Stop's data and totals. A later Stop replaces them."""
        text = as_json(stop.data)
        pieces = [text[i : i + STOP_PIECE_BYTES] for i in range(0, len(text), STOP_PIECE_BYTES)]
        totals = stop.data.get("totals")
        self.flush()
        with self._writing():
            data = self._entry["stop/data"]
            data.resize((len(pieces),))
            data[:] = pieces
            if isinstance(totals, Mapping):
                group = self._entry["totals"]
                for name in TOTALS:
                    if name in group:  # else an older version made the file
                        group[name][()] = totals.get(name, -1)
                group["complete"][()] = bool(totals.get("complete", False))
            self._file.flush()

    def close(self) -> None:
        """Flush and close; then any program can open the file.

        After writing has failed, nothing more is written and the file is left as by a killed
        process: readable, and the next writer continues it.
        """
        try:
            if self._failed:
                close_unwritten(self._file)
            else:
                with explained(self.path), closing(self._file):
                    self._flush()
        finally:
            os.close(self._lock)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Explain what goes wrong in one sentence, and remember that the file has failed."""
        try:
            with explained(self.path):
                yield
        except UnavailableError:
            self._failed = True
            raise

    def _split(self, row: int, event: Event) -> dict[str, NDArray[Any]]:
        """Return each dataset's part of the event's array; StageError if they don't fit."""
        if not event.dtype and not self._arrays:
            return {}
        if not event.dtype or not self._arrays:
            found, first = ("an", "none") if event.dtype else ("no", "one")
            raise StageError(
                f"event {row} carries {found} array, but the first event of its run carried "
                f"{first}; send events of different kinds to publishers of their own"
            )
        array = as_array(row, event)
        parts = split(row, array, self._columns)
        for name, part in parts.items():
            dataset = self._arrays.get(name)
            if dataset is None:
                raise StageError(
                    f"{self.path} has no dataset {name!r}; the option columns must not change "
                    "within a run"
                )
            if part.shape != dataset.shape[1:] or not np.can_cast(part.dtype, dataset.dtype):
                raise StageError(
                    f"{name} of event {row} is {part.dtype} {part.shape}, but in the first event "
                    f"of its run it was {dataset.dtype} {dataset.shape[1:]}; all arrays of a run "
                    "must be alike"
                )
        return parts

    def _convert(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        converted = {}
        for key, value in metadata.items():
            if value is None or key == UPSTREAM:
                continue  # `upstream` is a table, which no dataset holds
            dataset = self._scalars.get(key)
            fitting = None if dataset is None else fit(value, dataset.dtype)
            if fitting is None:
                self.unstored[key] = self.unstored.get(key, 0) + 1
            else:
                converted[key] = fitting
        return converted

    def _write_pending(self) -> None:
        self._grow((self._written, *self._scalars.values()), self._rows)
        blocks = list(RangeSet((row, row + 1) for row in sorted(self._pending)))
        for first, end in blocks:
            for key, dataset in self._scalars.items():
                rows = (self._pending[row] for row in range(first, end))
                values = [row.get(key, dataset.fillvalue) for row in rows]
                dataset[first:end] = np.array(values, dataset.dtype)
        for dataset in self._scalars.values():
            dataset.flush()
        for first, end in blocks:
            self._written[first:end] = 1
        self._pending.clear()

    @staticmethod
    def _grow(datasets: Iterable[Any], rows: int) -> None:
        for dataset in datasets:
            if len(dataset) < rows:
                dataset.resize(rows, axis=0)


def open_for_swmr(path: Path) -> h5py.File:
    """Open a file for writing, in SWMR mode from the beginning.

    `File.swmr_mode = True` would come a moment later, and a file whose writer was killed in between
    could not even be read.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_file_locking(False, True)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    how = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    return h5py.File(h5py.h5f.open(os.fsencode(path), how, access))


def run_of(path: Path) -> str | None:
    """Return the name of a file's run; None for a file that `create` did not make."""
    try:
        with h5py.File(path, "r", swmr=True, **HOW_TO_OPEN) as file:
            if file.attrs.get("creator") != CREATOR:
                return None
            return str(file["entry/entry_identifier"].asstr()[()])
    except (OSError, KeyError):
        return None


def _lock(descriptor: int, path: Path) -> None:
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCK_AT, 1, 0)
    try:
        # A lock of the open file, not of the process: HDF5 may open and close the file.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"another process is writing {path}; stop it, or give this publisher another path"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be locked ({error.strerror}); choose a path on a file system with locks"
        ) from error


def take_over(path: Path) -> int:
    """Lock a run's file and clear the marks of a killed writer.

    Returns
    -------
    The descriptor that holds the lock until it is closed.

    Raises
    ------
    ConfigurationError
        The process that writes the file is alive.
    """
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with contextlib.ExitStack() as failing:
            failing.callback(os.close, descriptor)
            _lock(descriptor, path)
            clear_marks(path)
            failing.pop_all()
    return descriptor


def release(path: Path) -> None:
    """Make a file that a killed process left behind readable for any program."""
    if run_of(path) is not None and os.access(path, os.W_OK):
        os.close(take_over(path))
