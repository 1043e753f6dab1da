"""What a source leaves for its next life: which run was open, and how much of it was under way.

The run's name is in a file beside the status page, written when a run opens or closes; the
counts are words of the page, written as they change. Both survive `kill -9`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from arroyo.protocol.source import FormerRun
from arroyo.telemetry.status_page import read_status_page


class OpenRun(msgspec.Struct, frozen=True):
    """The file's content: a run that has a Start and no Stop yet."""

    run: str
    epoch: int
    base: int


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

    Has to be asked before this life makes its own status page.
    """
    words = read_status_page(page)
    if words is None or not words["epoch"]:
        return None
    try:
        found = msgspec.json.decode(_beside(page).read_bytes(), type=OpenRun)
    except (OSError, msgspec.DecodeError):
        found = None
    lost = words["next"] - words["frontier"]
    if found is None or found.epoch != words["epoch"]:
        return FormerRun("", words["epoch"], 0, words["next"], words["frontier"]) if lost else None
    return FormerRun(found.run, found.epoch, found.base, words["next"], words["frontier"])


def _beside(page: Path) -> Path:
    return page.with_name(f"{page.name}.run")
