"""`SourceJournal`: the notes of a source with a replayable input, in a file that outlives it.

The file is a row of frames (`durable.frames`). The first holds all that was known when the file
was written anew; each further one is added by a single write before the source acts on it.
That outlasts `kill -9` of the process. Only what is written anew is forced to the disk, so a power
cut may take the last seconds: then messages come again under new keys. A file that is broken is
set aside, and the source begins anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from arroyo.durable.former_frames import pack_frame, unpack_frames
from arroyo.durable.replaced_file import replacing, set_aside, write_all
from arroyo.errors import ConfigurationError, UnavailableError, fault_of
from arroyo.identifiers import new_epoch
from arroyo.protocol.recovery.journal import JournalState, Memo

REWRITE_BYTES = 1024 * 1024
"""The file is written anew when so much was added to it."""

_log = logging.getLogger(__name__)
_Frame: TypeAlias = JournalState | Memo
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode


class SourceJournal:
    """The journal of one replica; `memory` is what it says in all.

    Raises
    ------
    ConfigurationError
        The folder can't be made, or the file in it not be read.
    UnavailableError
        The disk is full, or gone; so for all methods that write.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise fault_of(error)(
                f"the state directory {folder} can't be made: {error.strerror}; set "
                "ARROYO_STATE_DIR to a folder that you may write"
            ) from error
        self.is_new = not self._path.exists()
        """Whether nothing is known of a life before, and it is not that it was lost."""
        self.memory = self._recall() or JournalState(epoch=new_epoch())
        self._descriptor, self._added = -1, 0
        self._rewrite()

    def _recall(self) -> JournalState | None:
        """Read what the life before has noted; a file that is broken is set aside."""
        memory = read_journal(self._path)
        if memory is None and not self.is_new:
            try:
                aside = set_aside(self._path)
            except OSError as error:
                raise self._unavailable(error) from error
            _log.warning(
                "the journal %s is broken, as after a power cut, and is now %s; this source begins "
                "anew: what its input hands over again comes to the publishers a second time",
                self._path,
                aside.name,
            )
        return memory

    def note(self, memo: Memo) -> None:
        """Write a note down."""
        self.memory.apply(memo)
        if self._added > REWRITE_BYTES:
            self._rewrite()
        else:
            self._append(self._descriptor, memo)

    def _rewrite(self) -> None:
        """Replace the file by one that holds what is known and no history."""
        try:
            with replacing(self._path) as descriptor:
                self._append(descriptor, self.memory)
        except OSError as error:
            raise self._unavailable(error) from error
        self.close()
        self._descriptor, self._added = descriptor, 0

    def _append(self, descriptor: int, frame: _Frame) -> None:
        data = pack_frame(_encode(frame))
        try:
            write_all(descriptor, data)
        except OSError as error:
            raise self._unavailable(error) from error
        self._added += len(data)

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self._path} can't be written: {error.strerror}; make room on its disk, and this "
            "stage goes on where it was"
        )

    def close(self) -> None:
        """Close the file; it stays for the next life."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_journal(path: Path) -> JournalState | None:
    """Return what a journal says in all; None where there is none, or its beginning is broken.

    What follows the first frame that is not whole is left out: its writer died, or found the disk
    full, in the midst of it, and had not acted on it.

    Raises
    ------
    ConfigurationError
        It can't be read at all.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    frames = _frames(content)
    memory = next(frames, None)
    if not isinstance(memory, JournalState):
        return None
    for memo in frames:
        if not isinstance(memo, JournalState):
            memory.apply(memo)
    return memory


def _frames(content: bytes) -> Iterator[_Frame]:
    for body in unpack_frames(content):
        try:
            yield _decode(body)
        except msgspec.DecodeError:
            return
