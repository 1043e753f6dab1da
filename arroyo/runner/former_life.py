"""What a source leaves for its next life: which run was open, and how much of it was under way.

The run's name is in a file beside the status page, written when a run opens or closes; the
counts are words of the page, written before what they count leaves. Both survive `kill -9`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from arroyo.protocol.runs import FormerRun
from arroyo.telemetry.status_page import read_status_page


class OpenRun(msgspec.Struct, frozen=True):
    """The file's content: a run that has a Start and no Stop yet."""

    run: str
    epoch: int
    base: int
    next: int | None = None
    """See `FormerRun`; None while its source lives, and the page has the number."""
    frontier: int = 0
    start: bytes = b""
    """Its Start, encoded, for a stage that comes up between two lives and has to hear of both."""


def note_open_run(page: Path, run: OpenRun | None) -> None:
    """Write down that a run has opened, or (None) that none is open any more."""
    path = _beside(page)
    if run is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(run))
    draft.replace(path)


def read_former_run(page: Path) -> FormerRun | None:
    """Return what the life before left open or under way; None where it left nothing.

    Has to be asked before this life makes its own status page. What the page says of an open run
    is written down, for the life after this one, if this one dies before it has closed the run.
    """
    words = read_status_page(page) or {"epoch": 0, "next": 0, "frontier": 0}
    epoch, end, frontier = words["epoch"], words["next"], words["frontier"]
    try:
        found = msgspec.json.decode(_beside(page).read_bytes(), type=OpenRun)
    except (OSError, msgspec.DecodeError):
        found = None
    if found is not None and found.epoch == epoch and found.next is None:
        found = msgspec.structs.replace(found, next=end, frontier=frontier)
        note_open_run(page, found)
    if found is not None and found.next is not None:
        counts = (found.base, found.next, found.frontier)
        return FormerRun(found.run, found.epoch, *counts, found.start)
    return FormerRun("", epoch, 0, end, frontier) if end > frontier else None


def _beside(page: Path) -> Path:
    return page.with_name(f"{page.name}.run")
