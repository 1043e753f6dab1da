"""`FoldRecord`: what a fold leaves for its next life, in a file that outlasts `kill -9`.

It is written at each step forward, so it has to be quick, and must not fail in the midst of a run:
two slots of a mapped file, written in turn.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from arroyo.durable.frames import UNREADABLE, FileKind
from arroyo.durable.mapped_slots import MappedSlots
from arroyo.errors import fault_of, may_pass
from arroyo.protocol.fold.state import FoldState

PLACE_BYTES = 256 * 1024
ROOM_BYTES = PLACE_BYTES - 32
"""Room for one state with its count, in bytes."""

_KIND = FileKind(b"FOLD", 1)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, FoldState]).decode


class FoldRecord:
    """The record of one replica; `memory` is what the life before has left.

    `path`: its file; None: there will be no next life.

    ConfigurationError: the file can't be made, or is of another version.
    UnavailableError: there is no room on its disk.
    """

    def __init__(self, path: Path | None) -> None:
        self.memory = FoldState()
        self._slots: MappedSlots | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._slots = MappedSlots(path, _KIND, 2, PLACE_BYTES)
        except OSError as error:
            what_to_do = "set ARROYO_STATE_DIR to a folder that you may write"
            if may_pass(error):
                what_to_do = "make room on its disk"
            raise fault_of(error)(
                f"{path} can't be made: {error.strerror}; {what_to_do}"
            ) from error
        self._count, self.memory = self._read(self._slots)
        self._last = _encode(self.memory)

    def note(self, memory: FoldState) -> None:
        """Keep what the next life has to know, if it has changed."""
        if self._slots is None:
            return
        body = _encode_for_a_place(memory)
        if body == self._last:
            return
        self._last = body
        self._count += 1
        self._slots.write(self._count % 2, (self._count, msgspec.Raw(body)))

    def _read(self, slots: MappedSlots) -> tuple[int, FoldState]:
        found = (0, FoldState())
        for body in filter(None, map(slots.read, (0, 1))):
            try:
                found = max(found, _decode(body), key=lambda each: each[0])
            except UNREADABLE:
                continue
        return found

    def close(self) -> None:
        """Unmap the file; it stays for the next life."""
        if self._slots is not None:
            self._slots.close()


def _encode_for_a_place(memory: FoldState) -> bytes:
    body = _encode(memory)
    if len(body) > ROOM_BYTES:
        # Then some inputs may be folded twice after a death; none is lost.
        memory = msgspec.structs.replace(memory, inputs=())
        body = _encode(memory)
    while len(body) > ROOM_BYTES:
        # And outputs of the oldest runs would be numbered anew.
        later = memory.outputs[(len(memory.outputs) + 1) // 2 :]
        memory = msgspec.structs.replace(memory, outputs=later)
        body = _encode(memory)
    return body
