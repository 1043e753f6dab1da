"""The names of the events of a chain. PURE."""

from __future__ import annotations

from typing import Literal

EventName = Literal[
    "chain-started",
    "chain-died",
    "chain-ready",
    "chain-stopping",
    "cut-short",
    "chain-ended",
    "started",
    "ready",
    "finished",
    "restarting",
    "waiting",
    "failed",
    "corrected",
    "ended-badly",
    "killed",
    "hung",
    "stands-still",
    "goes-on",
    "quarantined",
    "lost",
    "restart-ordered",
    "stop-ordered",
    "stopped",
    "parameter-set",
    "start-ordered",
    "restarts-given-up",
    "reload-ordered",
    "reloaded",
    "rolled-back",
    "requeue-ordered",
    "drop-ordered",
    "refused",
    "events-lost",
]
"""What happens to a chain and its stages; supervision/README.md explains each."""
