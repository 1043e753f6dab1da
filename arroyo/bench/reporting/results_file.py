"""`ResultsFile`: all measurements, as JSON lines, and plots beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from arroyo.errors import ConfigurationError


class ResultsFile:
    """A file of JSON lines; without a path nothing is saved."""

    def __init__(self, path: Path | None, file: IO[bytes] | None) -> None:
        self.path = path
        self._file = file

    def note(self, entry: Any) -> None:
        """Write one line at once, so that it stays if the run fails later."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()


@contextmanager
def open_results(folder: Path | None) -> Iterator[ResultsFile]:
    """Open a new file in a folder, named after the time; None: save nothing.

    Raises
    ------
    ConfigurationError
        The folder can't be written.
    """
    if folder is None:
        yield ResultsFile(None, None)
        return
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written: {error.strerror}; give --save a folder that you may write"
        ) from error
    with file:
        yield ResultsFile(path, file)
