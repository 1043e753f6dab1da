"""`HDF5Publisher`: writes the events of a run to a NeXus file that can be read while it grows.

This module decides which run goes into which file, and loads h5py in `open()` only. `nexus_layout`
makes a file, `nexus_file` fills it, `superblock` repairs it, `closing` closes it on a full disk.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from arroyo.connectors.extras import needed_for
from arroyo.errors import ConfigurationError, StageError
from arroyo.messages import Event, Message, Origin, Start, Stop
from arroyo.stages import Publisher

if TYPE_CHECKING:
    from .nexus_file import NexusFile

_RUN = "{run}"
_log = logging.getLogger(__name__)


class HDF5Publisher(Publisher):
    """Writes each run into a NeXus file of its own, one row per event.

    The row is ``origin.sequence``, the event's place in its run: the order of arrival doesn't
    matter, and an event that comes twice overwrites itself. A message counts as published after
    the next `flush()`. The layout, with ``columns = ["I", "I_errors"]`` and ``axes = ["Q"]``::

        /entry                      NXentry
            entry_identifier        name of the run
            written                 (rows,) uint8: 1 where the row was written
            data                    NXdata, what a viewer draws; signal and axes are set
                I, I_errors         (rows, ...); without `columns` one dataset, ``data``
                Q                   from the Start's data
            events/KEY              (rows,) numbers and strings of the events' metadata
            start, stop             NXnote: the data of Start and Stop, JSON; what of the
                                    Start's is a number or string also as attributes
            totals                  sent, filtered, skipped, quarantined, dropped, lost,
                                    lost_at_most (-1: the Stop doesn't tell, as this last one
                                    where lost is certain); complete (False until a Stop says
                                    otherwise)

    A row that was filtered, lost or not yet written is 0 in ``written`` and holds NaN, 0 in
    datasets of whole numbers and the least int64 in ``events``. ``stop/data`` is empty until the
    Stop, then text in pieces (join them): SWMR knows no text of variable length.

    **Units** come from the Start's data: a text ``NAME_units`` there (``Q_units``, ``I_units``)
    becomes the attribute ``units`` of the dataset NAME. Nothing is converted.

    **The first event of a run decides** shape and type of its arrays and which keys of the
    metadata are stored. An event whose array differs is refused. A value of the metadata that
    came later, or doesn't fit without loss, is not stored; how many, of which key, is logged as
    a WARNING at the end of the run. Strings keep 256 bytes of UTF-8, longer ones end with an
    ellipsis. Events without an array have rows in ``events`` and ``written`` only.

    **Reading while it grows**: ``h5py.File(path, "r", swmr=True)``, on a local file system.
    After the Stop any program can open it.

    **A full disk** ends the stage with exit code 75, which is tried again; what was flushed
    stays, and everything else comes again.

    **Nothing is overwritten.** Where a file of an earlier run (or any other file) has the name,
    ``patterns.h5``, the run goes to ``patterns-2.h5``, and so on; the log says where. What a
    killed publisher left of the same run is opened again and continued.

    Parameters
    ----------
    path
        The file; ``{run}`` in it stands for the name of the run (``data/{run}.h5``; such a folder
        is created). A relative path means the chain file's folder.
    columns
        Names for the parts of the array along its first axis, each a dataset of its own. The
        first is what is drawn. One with the name of another and ``_errors`` or ``dev`` (``I`` and
        ``I_errors`` or ``Idev``) is taken for its standard deviation.
    axes
        Names of the axes of a row, slowest first: each a list of numbers in the Start's data,
        one per point, or one more (edges).
    compression
        ``gzip`` compresses the arrays, row by row. Worth it for images, not for short rows.
    """

    idempotent: ClassVar[bool] = True

    def __init__(
        self,
        path: str,
        *,
        columns: Sequence[str] = (),
        axes: Sequence[str] = (),
        compression: Literal["gzip"] | None = None,
    ) -> None:
        if not path or set("{}") & set(path.replace(_RUN, "")):
            raise ConfigurationError(
                f"path is {path!r}; it can have {_RUN} in it, but no other {{}}"
            )
        names = [*columns, *axes]
        for name in names:
            if not name or "/" in name or name == "." or names.count(name) > 1:
                raise ConfigurationError(
                    f"columns and axes are {names}; all names must differ, without /"
                )
        if compression not in ("gzip", None):
            raise ConfigurationError(
                f"compression is {compression!r}; it can be 'gzip' or left out"
            )
        self._path = path
        self._options: tuple[Any, ...] = (tuple(columns), tuple(axes), compression)
        self._starts: dict[str, Start] = {}
        self._files: dict[str, NexusFile] = {}

    def preflight(self) -> None:
        """Check that h5py is there and the folder can be written; ConfigurationError if not."""
        with needed_for("writing HDF5", "hdf5"):
            import_module("h5py")
            import_module("numpy")
        folder = Path(self._path.partition(_RUN)[0] + "_").parent
        if not folder.is_dir():
            raise ConfigurationError(
                f"the folder {folder.absolute()} does not exist; make it, or change path"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the folder {folder.absolute()} can't be written; change its permissions or path"
            )

    def open(self) -> None:
        """Check as `preflight` does, and make what a killed publisher left readable.

        ConfigurationError: another process is writing the file.
        """
        self.preflight()
        from .nexus_file import release

        if _RUN not in self._path:
            taken = list(itertools.takewhile(Path.exists, self._candidates("")))
            if taken:
                release(taken[-1])

    def publish(self, message: Message) -> None:
        """Write an Event into its row; close the run's file after its Stop.

        Raises
        ------
        StageError
            It has no row of its own, differs from the run's first event, or doesn't fit the
            options.
        DecodeError
            Its array is broken.
        UnavailableError
            The disk is full, or gone.
        """
        origin = message.origin
        if origin is None:
            raise StageError(
                "HDF5Publisher got a message without origin; rows are known in a chain"
            )
        if isinstance(message, Event):
            self._publish_event(message, origin)
        elif isinstance(message, Start):
            self._end_former_lives(origin)
            self._starts[origin.run] = message
        elif isinstance(message, Stop):
            file = self._file(origin.run, None)
            file.finish(message)
            self._starts.pop(origin.run, None)
            self._close(origin.run)
        else:
            raise StageError(
                f"HDF5Publisher can't store a {type(message).__name__}; send it Events"
            )

    def flush(self) -> None:
        """Write what was published to the files, for readers and for later processes."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close all files; a run without a Stop can be continued later."""
        with contextlib.ExitStack() as closing:  # all of them, whatever happens to one
            for run in list(self._files):
                closing.callback(self._close, run)

    def _publish_event(self, event: Event, origin: Origin) -> None:
        if origin.fragment:
            raise StageError(
                f"event {origin.sequence} of run {origin.run} is one of several that were made of "
                "one, and HDF5Publisher has one row for each of the source's; put a stage that "
                "gathers them in front of it"
            )
        file = self._file(origin.run, event)
        way = (origin.source, origin.path)
        if file.way is None:
            file.way = way
        elif file.way != way:
            raise StageError(
                f"events of run {origin.run} reach HDF5Publisher by two ways, or from two replicas "
                "of a stage that folds, and both have the same rows; give each way a publisher of "
                "its own"
            )
        file.put(origin.sequence, event)

    def _end_former_lives(self, origin: Origin) -> None:
        """Close runs of a source's former processes, which will send no Stop."""
        for run, start in list(self._starts.items()):
            former = start.origin
            if former and former.source == origin.source and former.epoch != origin.epoch:
                del self._starts[run]
                if run in self._files:
                    self._close(run)

    def _file(self, run: str, first: Event | None) -> NexusFile:
        """Return the run's file: an open one, an existing one, or a new one."""
        from .nexus_file import NexusFile, run_of
        from .nexus_layout import Layout, RunHeader, create

        if run not in self._files:
            layout = Layout(*self._options)
            ours = {file.path for file in self._files.values()}
            path = next(
                path
                for path in self._candidates(run)
                if path not in ours and (not path.exists() or run_of(path) == run)
            )
            if not path.exists():
                start = self._starts[run].data if run in self._starts else {}
                create(path, RunHeader(run, start, first), layout)
            self._files[run] = NexusFile(path, layout)
            _log.info("run %s goes to %s", run, path.absolute())
        return self._files[run]

    def _candidates(self, run: str) -> Iterator[Path]:
        path = Path(self._path.replace(_RUN, run))
        yield path
        for number in itertools.count(2):
            yield path.with_name(f"{path.stem}-{number}{path.suffix}")

    def _close(self, run: str) -> None:
        file = self._files.pop(run)
        for key, count in file.unstored.items():
            _log.warning(
                "%s lacks %d values of %r: the run's first event had none, or one of another type",
                file.path,
                count,
                key,
            )
        file.close()
