"""Creates the NeXus file of a run, with everything but rows. `nexus_file` fills it.

Rules: a file gets its name when it is complete, so that no half-made one is ever seen. All datasets
exist from the beginning, since SWMR can't add any. `HDF5Publisher` describes the layout.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from arroyo.errors import ConfigurationError, DecodeError, StageError, UnavailableError
from arroyo.messages import Event

from .nexus_values import is_name, kind_of, missing

CREATOR = "arroyo"
TOTALS = ("sent", "filtered", "skipped", "quarantined", "dropped", "lost", "lost_at_most")
STOP_PIECE_BYTES = 4096
"""The Stop's JSON is stored in pieces of this size: SWMR has no text of variable length."""

# The oldest format with SWMR, so that programs with older HDF5 can read it as well.
# HDF5's own locks are of no use (it releases them for SWMR); `nexus_file.take_over` locks.
HOW_TO_OPEN = {"libver": ("v110", "v110"), "locking": False}

# Small rows share a chunk. A flush writes whole chunks, so they must not be large.
_CHUNK_BYTES = 16384


class Layout(NamedTuple):
    """Options of `HDF5Publisher` that concern the file."""

    columns: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    compression: str | None = None


class RunHeader(NamedTuple):
    """What is known of a run when its file is made: name, data of its Start, first event."""

    run: str
    start: Mapping[str, Any]
    first: Event | None


def create(path: Path, header: RunHeader, layout: Layout) -> None:
    """Make the file of a run, complete but for its rows.

    Parameters
    ----------
    path
        Its name, which nothing may have.
    header
        The first event shows what the others are like; a run without events has none.
    layout
        The publisher's options.

    Raises
    ------
    StageError
        The event doesn't fit the layout.
    ConfigurationError
        The name was taken in the meantime.
    UnavailableError
        The file can't be written.
    """
    image = _make_image(path.name, header, layout)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(image)
        try:
            path.hardlink_to(unfinished)
        except FileExistsError as error:
            raise ConfigurationError(
                f"{path} was just made by another process; give each publisher its own path"
            ) from error
        except OSError as error:
            raise UnavailableError(f"{path} can't be made: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _make_image(name: str, header: RunHeader, layout: Layout) -> bytes:
    """Return the content of a run's file, made in memory.

    On a disk, HDF5 reports no errors while it closes a dataset, and may crash later because of it.
    """
    with h5py.File(name, "w", driver="core", backing_store=False, **HOW_TO_OPEN) as file:
        file.attrs["file_name"] = name
        _lay_out(file, header, layout)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of the system and of HDF5 into an UnavailableError of one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5 has the system's reason somewhere in a long text, and not always the number.
        named = re.search(r"error message = '([^']+)'", str(error))
        number = error.errno if isinstance(error, OSError) else None
        reason = named[1] if named else os.strerror(number) if number else error
        raise UnavailableError(
            f"{path} can't be written: {reason}; check the disk's free space and permissions"
        ) from error


def as_array(row: int, event: Event) -> NDArray[Any]:
    """Return the event's array; DecodeError if it is broken."""
    try:
        return event.array
    except (TypeError, ValueError) as error:
        raise DecodeError(f"the array of event {row} is broken: {error}") from error


def split(row: int, array: NDArray[Any], columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Split an array along its first axis, if its parts have names."""
    if not columns:
        return {"data": array}
    if array.ndim == 0 or len(array) != len(columns):
        raise StageError(
            f"the array of event {row} has shape {array.shape}, but columns names "
            f"{len(columns)} parts of its first axis ({', '.join(columns)})"
        )
    return dict(zip(columns, array, strict=True))


def as_json(data: Mapping[str, Any]) -> bytes:
    """Encode the data of a Start or Stop as JSON; StageError if that is impossible."""
    try:
        return msgspec.json.encode(data)
    except (TypeError, ValueError) as error:
        raise StageError(f"the run's data can't be written as JSON: {error}") from error


def _lay_out(file: h5py.File, header: RunHeader, layout: Layout) -> None:
    run, start, first = header
    file.attrs.update(
        NX_class="NXroot",
        default="entry",
        creator=CREATOR,
        file_time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    entry = _group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["entry_identifier"] = run
    entry.create_dataset("written", **_growing(np.dtype(np.uint8), (), 0))
    entry["written"].attrs["long_name"] = "1 where the row of that number was written"
    note = _group(entry, "start", "NXnote")
    note["type"] = "application/json"
    note["data"] = as_json(start).decode()
    for key, value in start.items():
        if is_name(key) and kind_of(value) is not None:
            note.attrs[key] = value
    _lay_out_stop(entry)
    events = _group(entry, "events", "NXcollection")
    data = _group(entry, "data", "NXdata")
    if first is None:
        return
    for key, value in first.metadata.items():
        kind = kind_of(value)
        if kind is not None and is_name(key):
            growing = _growing(_stored(kind), (), missing(kind))
            _say_units(events.create_dataset(key, **growing), start)
    if first.dtype:
        _lay_out_data(data, first, start, layout)


def _lay_out_stop(entry: h5py.Group) -> None:
    note = _group(entry, "stop", "NXnote")
    note["type"] = "application/json"
    note.create_dataset("data", **_growing(np.dtype(f"S{STOP_PIECE_BYTES}"), (), b""))
    totals = _group(entry, "totals", "NXcollection")
    for name in TOTALS:
        totals.create_dataset(name, data=np.int64(-1))
    totals.create_dataset("complete", data=np.False_)


def _lay_out_data(
    group: h5py.Group, first: Event, start: Mapping[str, Any], layout: Layout
) -> None:
    row = first.origin.sequence if first.origin else 0
    parts = split(row, as_array(row, first), layout.columns)
    for name, part in parts.items():
        growing = _growing(part.dtype, part.shape, np.nan if part.dtype.kind in "fc" else 0)
        if layout.compression and part.ndim:
            chunks = (1, *part.shape)
            growing |= {"compression": layout.compression, "shuffle": True, "chunks": chunks}
        try:
            dataset = group.create_dataset(name, **growing)
        except (TypeError, ValueError) as error:
            raise StageError(
                f"HDF5 can't hold arrays of {part.dtype} {part.shape}: {error}"
            ) from error
        _say_units(dataset, start)
        for other in parts:
            if name in (f"{other}_errors", f"{other}dev"):
                group[other].attrs["uncertainties"] = name
    signal, part = next(iter(parts.items()))
    group.attrs["signal"] = signal
    if part.ndim in (1, 2):
        group[signal].attrs["interpretation"] = ("spectrum", "image")[part.ndim - 1]
    if layout.axes:
        _lay_out_axes(group, part.shape, start, layout.axes)


def _lay_out_axes(
    group: h5py.Group, shape: tuple[int, ...], start: Mapping[str, Any], axes: Sequence[str]
) -> None:
    if len(axes) != len(shape):
        raise StageError(
            f"axes names {len(axes)} ({', '.join(axes)}), but a row of {group.attrs['signal']} "
            f"has {len(shape)}: its shape is {shape}"
        )
    for name, length in zip(axes, shape, strict=True):
        if name not in start:
            raise StageError(
                f"axes names {name!r}, but the run's Start has no such data; "
                f"it has {', '.join(start) or 'none'}"
            )
        try:
            values = np.asarray(start[name], np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape not in ((length,), (length + 1,)):
            raise StageError(
                f"axes names {name!r}: expected {length} numbers in the Start's data, one for "
                f"each point, or {length + 1} edges; found {values.shape}"
            )
        _say_units(group.create_dataset(name, data=values), start)
    group.attrs["axes"] = [".", *axes]


def _growing(dtype: np.dtype[Any], shape: tuple[int, ...], fill: Any) -> dict[str, Any]:
    row_bytes = max(1, dtype.itemsize * math.prod(shape))
    return {
        "shape": (0, *shape),
        "maxshape": (None, *shape),
        "chunks": (max(1, _CHUNK_BYTES // row_bytes), *shape),
        "dtype": dtype,
        "fillvalue": fill,
    }


def _stored(kind: np.dtype[Any]) -> np.dtype[Any]:
    return h5py.string_dtype("utf-8", kind.itemsize) if kind.kind == "S" else kind


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _say_units(dataset: h5py.Dataset, start: Mapping[str, Any]) -> None:
    units = start.get(f"{dataset.name.rpartition('/')[2]}_units")
    if isinstance(units, str) and units and "\0" not in units:
        dataset.attrs["units"] = units
