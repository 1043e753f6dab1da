"""What the event log says of each announcement, beside the sentence for people. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from arroyo.config.event_names import EventName
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import Ending, signal_name
from arroyo.supervision.decisions.happening import OfReplica
from arroyo.telemetry.event_line import ExitReport
from arroyo.telemetry.logs import encodable


class Kind(NamedTuple):
    """Name of an event, and how bad it is."""

    event: EventName
    level: str = "INFO"


KINDS: Mapping[type[ev.Announcement], Kind] = {
    ev.BecameReady: Kind("ready"),
    ev.ChainBecameReady: Kind("chain-ready"),
    ev.Finished: Kind("finished"),
    ev.WillRestart: Kind("restarting", "WARNING"),
    ev.WillRetry: Kind("waiting", "WARNING"),
    ev.GaveUp: Kind("failed", "ERROR"),
    ev.TriesAgain: Kind("corrected"),
    ev.RestartsOnRequest: Kind("restart-ordered"),
    ev.StopsOnRequest: Kind("stop-ordered"),
    ev.StoppedOnRequest: Kind("stopped"),
    ev.StartsOnRequest: Kind("start-ordered"),
    ev.RestartsGivenUp: Kind("restarts-given-up", "WARNING"),
    ev.ReloadOrdered: Kind("reload-ordered"),
    ev.Reloaded: Kind("reloaded"),
    ev.RolledBack: Kind("rolled-back", "ERROR"),
    ev.EndedBadly: Kind("ended-badly", "ERROR"),
    ev.Draining: Kind("chain-stopping"),
    ev.CutShort: Kind("cut-short", "ERROR"),
    ev.Killed: Kind("killed", "WARNING"),
    ev.Hung: Kind("hung", "WARNING"),
    ev.BecameUnwell: Kind("stands-still", "WARNING"),
    ev.BecameWell: Kind("goes-on"),
}


def facts_of(happened: ev.Announcement) -> dict[str, Any]:
    """Return the fields of an `EventLine` that the announcement has something for."""
    facts: dict[str, Any] = {}
    if isinstance(happened, OfReplica):
        facts["stage"] = str(happened.replica)
    match happened:
        case ev.WillRestart(_, ending, next_s) | ev.WillRetry(_, ending, next_s):
            facts |= {"exit": exit_report(ending), "next_s": round(next_s, 3)}
        case ev.GaveUp(_, ending, retry_s):
            facts |= {"exit": exit_report(ending), "next_s": retry_s}
        case ev.EndedBadly(_, ending):
            facts |= {"exit": exit_report(ending)}
        case ev.Draining(by) | ev.CutShort(_, by):
            facts |= {"by": by}
        case (
            ev.RestartsOnRequest() | ev.StopsOnRequest() | ev.StartsOnRequest() | ev.ReloadOrdered()
        ):
            facts |= {"by": happened.by}
    return facts


def exit_report(ending: Ending) -> ExitReport:
    """Return how a process has ended, as the event log has it."""
    status, found = ending.status, ending.evidence
    killed = status is not None and status < 0
    return ExitReport(
        after_s=round(ending.after_s, 3),
        code=None if killed else status,
        signal=signal_name(-status) if status is not None and killed else "",
        cause=ending.cause or found.too_large,
        said=found.said,
        in_hand=found.message,
        phase=found.phase,
        hung=found.hung,
        dumped_core=found.dumped_core,
        out_of_memory=found.out_of_memory,
        stacks=encodable(found.stacks),
        log=found.last_lines,
    )
