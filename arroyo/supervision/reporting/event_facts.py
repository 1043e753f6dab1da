"""What the event log says of each announcement, beside the sentence for people. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from arroyo.config.event_names import EventName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.ending import Ending, signal_name
from arroyo.supervision.decisions.happening import OfReplica
from arroyo.telemetry.event_line import ExitReport
from arroyo.telemetry.logs import encodable


class Kind(NamedTuple):
    """Name of an event, and how bad it is."""

    event: EventName
    level: str = "INFO"


KINDS: Mapping[type[act.Announcement], Kind] = {
    act.BecameReady: Kind("ready"),
    act.ChainBecameReady: Kind("chain-ready"),
    act.Finished: Kind("finished"),
    act.WillRestart: Kind("restarting", "WARNING"),
    act.WillRetry: Kind("waiting", "WARNING"),
    act.GaveUp: Kind("failed", "ERROR"),
    act.TriesAgain: Kind("corrected"),
    act.RestartsOnRequest: Kind("restart-ordered"),
    act.StopsOnRequest: Kind("stop-ordered"),
    act.StoppedOnRequest: Kind("stopped"),
    act.StartsOnRequest: Kind("start-ordered"),
    act.RestartsGivenUp: Kind("restarts-given-up", "WARNING"),
    act.ReloadOrdered: Kind("reload-ordered"),
    act.Reloaded: Kind("reloaded"),
    act.RolledBack: Kind("rolled-back", "ERROR"),
    act.EndedBadly: Kind("ended-badly", "ERROR"),
    act.Draining: Kind("chain-stopping"),
    act.CutShort: Kind("cut-short", "ERROR"),
    act.Killed: Kind("killed", "WARNING"),
    act.Hung: Kind("hung", "WARNING"),
    act.BecameUnwell: Kind("stands-still", "WARNING"),
    act.BecameWell: Kind("goes-on"),
}


def facts_of(happened: act.Announcement) -> dict[str, Any]:
    """Return the fields of an `EventLine` that the announcement has something for."""
    facts: dict[str, Any] = {}
    if isinstance(happened, OfReplica):
        facts["stage"] = str(happened.replica)
    match happened:
        case act.WillRestart(_, ending, next_s) | act.WillRetry(_, ending, next_s):
            facts |= {"exit": exit_report(ending), "next_s": round(next_s, 3)}
        case act.GaveUp(_, ending, retry_s):
            facts |= {"exit": exit_report(ending), "next_s": retry_s}
        case act.EndedBadly(_, ending):
            facts |= {"exit": exit_report(ending)}
        case act.Draining(by) | act.CutShort(_, by):
            facts |= {"by": by}
        case (
            act.RestartsOnRequest()
            | act.StopsOnRequest()
            | act.StartsOnRequest()
            | act.ReloadOrdered()
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
