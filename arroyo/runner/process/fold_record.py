"""`FoldRecord`: what a fold leaves for its next life, in a file that outlasts `kill -9`.

It is written at each step forward, so it has to be quick: two places in a mapped file, written in
turn, each with length, checksum and count. A death in the midst of writing leaves the other whole.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path

import msgspec

from arroyo.errors import UnavailableError, fault_of
from arroyo.protocol.fold.state import FoldState

PLACE_BYTES = 256 * 1024

_HEAD = struct.Struct(">QII")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FoldState).decode


class FoldRecord:
    """The record of one replica; `memory` is what the life before has left.

    Raises
    ------
    ConfigurationError
        The file can't be made.
    UnavailableError
        There is no room on its disk.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise fault_of(error)(
                f"{path} can't be made: {error.strerror}; set ARROYO_STATE_DIR to a folder that "
                "you may write"
            ) from error
        try:
            os.posix_fallocate(descriptor, 0, 2 * PLACE_BYTES)
            self._map = mmap.mmap(descriptor, 2 * PLACE_BYTES)
        except OSError as error:
            raise UnavailableError(
                f"{path} can't be written: {error.strerror}; make room on its disk"
            ) from error
        finally:
            os.close(descriptor)
        self.memory, self._count = self._read()
        self._last = _encode(self.memory)

    def note(self, memory: FoldState) -> None:
        """Keep what the next life has to know, if it has changed."""
        body = _encode_for_a_place(memory)
        if body == self._last:
            return
        self._last = body
        self._count += 1
        at = PLACE_BYTES * (self._count % 2)
        self._map[at : at + _HEAD.size] = bytes(_HEAD.size)
        self._map[at + _HEAD.size : at + _HEAD.size + len(body)] = body
        self._map[at : at + _HEAD.size] = _HEAD.pack(self._count, len(body), zlib.crc32(body))

    def _read(self) -> tuple[FoldState, int]:
        found = (FoldState(), 0)
        for at in (0, PLACE_BYTES):
            count, length, checksum = _HEAD.unpack_from(self._map, at)
            body = self._map[at + _HEAD.size : at + _HEAD.size + length]
            if count > found[1] and zlib.crc32(body) == checksum:
                try:
                    found = _decode(body), count
                except msgspec.DecodeError:
                    continue
        return found

    def close(self) -> None:
        """Unmap the file; it stays for the next life."""
        self._map.close()


def _encode_for_a_place(memory: FoldState) -> bytes:
    body = _encode(memory)
    if len(body) > PLACE_BYTES - _HEAD.size:
        # Then some inputs may be folded twice after a death; none is lost.
        memory = msgspec.structs.replace(memory, inputs=())
        body = _encode(memory)
    while len(body) > PLACE_BYTES - _HEAD.size:
        # And outputs of the oldest runs would be numbered anew.
        later = memory.outputs[(len(memory.outputs) + 1) // 2 :]
        memory = msgspec.structs.replace(memory, outputs=later)
        body = _encode(memory)
    return body
