"""State of a broker's consumer that outlives its process, in a log in the state directory.

Its name, under which the server keeps what is pending; and messages that were finished while the
server was away, which it would otherwise deliver again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from arroyo.durable.append_log import AppendLog
from arroyo.durable.frames import FileKind
from arroyo.errors import UnavailableError

_KIND = FileKind(b"CONS", 1)
_log = logging.getLogger(__name__)


class _Known(msgspec.Struct, array_like=True):
    name: str
    owed: list[str] = []

    def apply(self, ids: Sequence[str]) -> None:
        """Add ids to those owed; an empty list clears them."""
        if ids:
            self.owed += ids
        else:
            self.owed.clear()


class ConsumerState:
    """The log of one consumer.

    `folder`: where it is; None if there will be no next process.

    UnavailableError: it can't be read or written.
    ConfigurationError: it was written by another version of Arroyo.
    """

    def __init__(self, folder: Path | None) -> None:
        made = f"{socket.gethostname()}-{os.urandom(4).hex()}"
        self._log: AppendLog[_Known] | None = None
        self._known = _Known(made)
        if folder is None:
            return
        self._path = folder / "consumer"
        try:
            self._log = AppendLog(
                self._path,
                _KIND,
                _Known,
                list[str],
                empty=lambda: _Known(f"{folder.name}-{made}"),
                sync=True,
            )
            self._log.compact()
        except OSError as error:
            raise UnavailableError(
                f"{self._path} can't be read or written: {error.strerror}; make room there, "
                "or mend its owner"
            ) from error
        self._known = self._log.state
        if self._log.is_lost:
            _log.warning("%s is damaged: the server knows us by another name from now", self._path)

    @property
    def name(self) -> str:
        """Name of the consumer, unique among all."""
        return self._known.name

    @property
    def owed(self) -> Sequence[str]:
        """Ids of finished messages whose acknowledgement has not reached the server."""
        return self._known.owed

    def note_owed(self, ids: Sequence[str]) -> None:
        """Add ids to those owed, for this process and the next one."""
        if ids:
            self._note(ids)

    def forget_owed(self) -> None:
        """Note that the server has received all acknowledgements."""
        if self.owed:
            self._note([])

    def _note(self, ids: Sequence[str]) -> None:
        if self._log is None:
            self._known.apply(ids)
            return
        try:
            self._log.append(ids)
        except OSError as error:
            # What is in the file is acknowledged again later, which does no harm.
            self._log = None
            self._known.apply(ids)
            _log.warning(
                "%s can't be written (%s): should this stage die while the server is away, "
                "messages come twice that were finished meanwhile",
                self._path,
                error.strerror,
            )

    def close(self) -> None:
        """Close the file; it stays for the next process."""
        if self._log is not None:
            self._log.close()
