"""What a source leaves for its next life: the runs whose Stop somebody may lack.

They are in a file of the state directory, written when a run begins, is stopped, or is over for
everybody; how far the open one has come is counted in words of the status page. Both survive
`kill -9`. The page is gone after a reboot: then nobody knows how far the open run had come.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from arroyo.durable.former_frames import pack_frame, unpack_frames
from arroyo.durable.replaced_file import write_all
from arroyo.protocol.recovery.unclosed_run import UnclosedRun, settle
from arroyo.telemetry.status_page import read_status_page

REWRITE_BYTES = 64 * 1024
"""The file begins anew when it has grown so large."""


def note_runs(path: Path, runs: Iterable[UnclosedRun]) -> None:
    """Write down the runs of a source, oldest first, instead of those in the file at `path`.

    They are added to the file, which costs a source with short runs little; only the last frame
    counts. Nothing is forced to the disk: a power cut may take the last seconds.

    Raises
    ------
    OSError
        There is no room for them; what was there is gone as well.
    """
    draft = path.with_suffix(".draft")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        grown = path.exists() and path.stat().st_size > REWRITE_BYTES
        _add(draft if grown else path, pack_frame(_encode(tuple(runs))))
        if grown:
            draft.replace(path)
    except OSError:
        # Rather none than one that calls a run open that has ended since.
        for file in (draft, path):
            file.unlink(missing_ok=True)
        raise


def _add(path: Path, frame: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        write_all(descriptor, frame)
    finally:
        os.close(descriptor)


def read_former_runs(page: Path, path: Path) -> tuple[UnclosedRun, ...]:
    """Return what the lives before left in their status page and the file at `path`, oldest first.

    Has to be asked before this life makes its own status page. What the page says of an open run
    is written down, for the life after this one, if this one dies before it has closed the run.
    """
    noted: tuple[UnclosedRun, ...] = ()
    with contextlib.suppress(OSError, msgspec.DecodeError):
        for frame in unpack_frames(path.read_bytes()):
            noted = _decode(frame)
    words = read_status_page(page)
    runs = noted if words is None else settle(noted, words)
    if runs != noted:
        with contextlib.suppress(OSError):  # without room only this life knows of them
            note_runs(path, runs)
    return runs


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[UnclosedRun, ...]).decode
