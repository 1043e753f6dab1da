"""The supervisor's note of replicas that are away for long, for which sources don't wait.

A source that starts waits for everything below it (PROTOCOL 5). What somebody has stopped, or what
is FAILED, does not come by itself, so it is named in the file ``away`` of the run directory. The
supervisor alone writes it; without one, nothing is away.
"""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.config.run_directory import RunDirectory
from arroyo.durable.replaced_file import replace_file
from arroyo.identifiers import ReplicaName

_NAME = "away"


def write_away(run_directory: RunDirectory, names: Iterable[ReplicaName]) -> bool:
    """Replace the note; return False where that can't be, as on a full disk."""
    content = "".join(f"{name}\n" for name in names).encode()
    try:
        replace_file(run_directory.path / _NAME, content, sync=False)
    except OSError:
        return False
    return True


def read_away(run_directory: RunDirectory) -> list[ReplicaName]:
    """Return the replicas that the note names; none where it can't be read."""
    try:
        return list(map(ReplicaName.parse, (run_directory.path / _NAME).read_text().split()))
    except (OSError, ValueError):
        return []
