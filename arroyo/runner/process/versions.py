"""Finds stages of a chain that were started with another version of its chain file.

Where a stage was renamed, or takes its input from another one, each waits for neighbours that the
other version doesn't have, for ever. So each stage notes in its lock file how its chain is wired,
and tells of those that run with another wiring. What only concerns one stage, as its options, is
no part of it: that may be changed while others run.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from arroyo.config.graph import Chain, without_programs
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import owner
from arroyo.identifiers import digest


def others_wired_differently(directory: RunDirectory, chain: Chain, own: Path) -> list[str]:
    """Return the replicas that run with another wiring than `chain` has."""
    wanted = wiring_of(chain)
    others = [path for path in directory.locks if path != own and path.name != "supervisor"]
    return [
        path.name for path in others if owner(path) is not None and _note(path) not in ("", wanted)
    ]


def wiring_of(chain: Chain) -> str:
    """Return a text that is the same for chains whose stages find and understand each other."""
    stages = [
        (stage.name, stage.role, stage.inputs, stage.replicas, stage.dispatch_key, stage.listen)
        for _, stage in sorted(without_programs(chain).stages.items())
    ]
    return digest(msgspec.json.encode(stages))


def _note(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
