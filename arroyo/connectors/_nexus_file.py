"""One run in one NeXus file, open for writing: the rows, and what the Stop says.

Rules: only what SWMR allows happens here (datasets grow and are overwritten), so that the file
can be read at any moment and a kill at any moment leaves it sound. A row is marked as written
only after it is in the file.
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

from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Event, Stop

from ._hdf5_closing import close_unwritten, closing
from ._hdf5_superblock import clear_marks
from ._nexus_layout import (
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
from ._nexus_values import fit
from .outward import UPSTREAM

_LOCK_AT = 1 << 62  # a byte that no file has, so that nobody else's lock is in the way


class NexusFile:
    """The file of one run, open for writing; readers may come and go.

    Parameters
    ----------
    path
        A file that `create` made, perhaps left behind by a killed process.
    layout
        As it was given to `create`.

    Raises
    ------
    ConfigurationError
        Another process is writing it.
    UnavailableError
        It can't be opened.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.unstored: dict[str, int] = {}
        """How many values of the metadata did not fit what the run's first event had, by key."""
        self.way: tuple[str, int] | None = None
        """Source, and number of the way through the chain, that its events came by."""
        with explained(path):
            self._lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            lock(self._lock, path)
            with explained(path):
                clear_marks(path)
                self._file = open_for_swmr(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._failed = False
        entry = self._file["entry"]
        self._entry = entry
        self._columns = layout.columns
        growing = (item for item in entry["data"].items() if item[1].maxshape[:1] == (None,))
        self._arrays = dict(growing)
        self._scalars = dict(entry["events"].items())
        self._written = entry["written"]
        self._pending: dict[int, dict[str, Any]] = {}
        # A killed writer may have made some of them longer than others.
        self._rows = max(len(dataset) for dataset in (self._written, *self._arrays.values()))
        try:
            with explained(path):
                self._grow(self._arrays.values(), self._rows)
        except BaseException:
            close_unwritten(self._file)
            os.close(self._lock)
            raise

    def put(self, row: int, event: Event) -> None:
        """Write an event into its row, over what is there; safe after the next `flush()`.

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
        """Bring all rows into the file and only then mark them as written."""
        with self._writing():
            self._flush()

    def _flush(self) -> None:
        for dataset in self._arrays.values():
            dataset.flush()
        if self._pending:
            self._write_pending()
        self._file.flush()

    def finish(self, stop: Stop) -> None:
        """Write what the Stop says. The next one, if any, replaces it."""
        text = as_json(stop.data)
        pieces = [text[i : i + STOP_PIECE_BYTES] for i in range(0, len(text), STOP_PIECE_BYTES)]
        totals = stop.data.get("totals")
        self.flush()
        with self._writing():
            data = self._entry["stop/data"]
            data.resize((len(pieces),))
            data[:] = pieces
            if isinstance(totals, Mapping):
                for name in TOTALS:
                    self._entry["totals"][name][()] = totals.get(name, -1)
                self._entry["totals/complete"][()] = bool(totals.get("complete", False))
            self._file.flush()

    def close(self) -> None:
        """Flush and close; the file is then one that any program can open.

        Where writing has failed, nothing more is written, and the file is left as by a killed
        process: readable, and continued by who opens it next.
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
        """Turn what goes wrong into one sentence, and remember that the file has failed."""
        try:
            with explained(self.path):
                yield
        except UnavailableError:
            self._failed = True
            raise

    def _split(self, row: int, event: Event) -> dict[str, NDArray[Any]]:
        """Give each dataset its part of the event's array, or say what is wrong with that."""
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
                continue  # a table, which no dataset of the events holds
            dataset = self._scalars.get(key)
            fitting = None if dataset is None else fit(value, dataset.dtype)
            if fitting is None:
                self.unstored[key] = self.unstored.get(key, 0) + 1
            else:
                converted[key] = fitting
        return converted

    def _write_pending(self) -> None:
        self._grow((self._written, *self._scalars.values()), self._rows)
        blocks = neighbours(self._pending)
        for block in blocks:
            for key, dataset in self._scalars.items():
                values = [self._pending[row].get(key, dataset.fillvalue) for row in block]
                dataset[block.start : block.stop] = np.array(values, dataset.dtype)
        for dataset in self._scalars.values():
            dataset.flush()
        for block in blocks:
            self._written[block.start : block.stop] = 1
        self._pending.clear()

    @staticmethod
    def _grow(datasets: Iterable[Any], rows: int) -> None:
        for dataset in datasets:
            if len(dataset) < rows:
                dataset.resize(rows, axis=0)


def open_for_swmr(path: Path) -> h5py.File:
    """Open a file for writing, in SWMR mode from the first moment.

    `File.swmr_mode = True` comes a moment later, and a file whose writer was killed in between
    could not even be read.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_file_locking(False, True)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    how = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    return h5py.File(h5py.h5f.open(os.fsencode(path), how, access))


def run_of(path: Path) -> str | None:
    """Name the run that a file holds; None for a file that `create` did not make."""
    try:
        with h5py.File(path, "r", swmr=True, **HOW_TO_OPEN) as file:
            if file.attrs.get("creator") != CREATOR:
                return None
            return str(file["entry/entry_identifier"].asstr()[()])
    except (OSError, KeyError):
        return None


def lock(descriptor: int, path: Path) -> None:
    """Hold the file for this process, until the descriptor is closed.

    Raises
    ------
    ConfigurationError
        Another process holds it.
    """
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCK_AT, 1, 0)
    try:
        # Of the open file, not of the process: HDF5 may open and close the file as it likes.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"another process is writing {path}; stop it, or give this publisher another path"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be locked ({error.strerror}); choose a path on a file system with locks"
        ) from error


def release(path: Path) -> None:
    """Make a run's file that a killed process left behind one that any program can open.

    Raises
    ------
    ConfigurationError
        The process that writes it is alive.
    """
    if run_of(path) is None or not os.access(path, os.W_OK):
        return
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        lock(descriptor, path)
        clear_marks(path)
    finally:
        os.close(descriptor)


def neighbours(rows: Iterable[int]) -> list[range]:
    """Gather rows into blocks without gaps, ascending, so that each is written in one go."""
    blocks: list[range] = []
    for row in sorted(rows):
        if blocks and blocks[-1].stop == row:
            blocks[-1] = range(blocks[-1].start, row + 1)
        else:
            blocks.append(range(row, row + 1))
    return blocks
