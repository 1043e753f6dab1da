"""What a consumer of a broker has to know in its next life, in the state directory.

Its name, under which the server keeps what is pending; and the entries that are finished while the
server is away, which it would give again as if they were not.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from arroyo.durable.replaced_file import replace_file
from arroyo.errors import UnavailableError

_log = logging.getLogger(__name__)


class ConsumerMemory:
    """Files of one consumer.

    Parameters
    ----------
    folder
        Where they are; None where there is no next life.

    Raises
    ------
    UnavailableError
        They can't be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._noted = False
        try:
            self.name = self._choose_name()
            self.owed = self._read_owed()
            """Ids of messages whose acknowledgement has not reached the server."""
        except OSError as error:
            raise UnavailableError(
                f"{error.filename} can't be read or written: {error.strerror}; make room there, "
                "or mend its owner"
            ) from error

    def _choose_name(self) -> str:
        made = f"{socket.gethostname()}-{os.urandom(4).hex()}"
        if self._folder is None:
            return made
        path = self._folder / "consumer"
        if not path.exists():
            replace_file(path, f"{self._folder.name}-{made}".encode())
        return path.read_text("utf-8")

    @property
    def _path(self) -> Path | None:
        return self._folder and self._folder / "unacknowledged"

    def _read_owed(self) -> list[str]:
        if self._path is None or not self._path.exists():
            return []
        self._noted = True
        *whole, _ = self._path.read_text("ascii").split("\n")
        return whole

    def note_owed(self, ids: Sequence[str]) -> None:
        """Keep ids that were added to `owed`."""
        if self._path is None or not ids:
            return
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.writelines(f"{entry}\n" for entry in ids)
            self._noted = True
        except OSError as error:
            _log.warning(
                "%s can't be written (%s): should this stage die before the server is back, "
                "%d messages come twice",
                self._path,
                error.strerror,
                len(ids),
            )

    def forget_owed(self) -> None:
        """The server has got them all."""
        self.owed.clear()
        if self._noted and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._noted = False
