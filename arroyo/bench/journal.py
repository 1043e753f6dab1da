"""`Journal`: everything measured, as JSON lines, and plots of it beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from arroyo.errors import ConfigurationError


class Journal:
    """One file of JSON lines; without a path nothing is kept."""

    def __init__(self, path: Path | None, file: IO[bytes] | None) -> None:
        self.path = path
        self._file = file

    def note(self, entry: Any) -> None:
        """Write one line; what breaks the run off later leaves it there."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()


@contextmanager
def open_journal(folder: Path | None) -> Iterator[Journal]:
    """Open a new file, named after the time, in a folder; None: keep nothing.

    Raises
    ------
    ConfigurationError
        The folder can't be written.
    """
    if folder is None:
        yield Journal(None, None)
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
        yield Journal(path, file)
