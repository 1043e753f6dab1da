"""`ConsoleReport`: announcements as lines for the person at the terminal. PURE."""

from __future__ import annotations

import re

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.ending import Ending, describe_end, name_replicas
from arroyo.supervision.decisions.health_response import UNWELL
from arroyo.supervision.decisions.totals import ENDS, QUARANTINED, ExitStatus, Totals, say_messages

_COLOURS = {"plain": "", "good": "32", "bad": "31", "warning": "33", "bold": "1"}
_PAINT = re.compile("\033\\[[0-9;]*m")


class ConsoleReport:
    """Makes a line of each announcement.

    `colour`: whether to colour lines (a terminal, and no NO_COLOR).
    """

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._reasons: set[str] = set()

    def header(self, chain: Chain) -> str:
        """Return the line that says which chain starts."""
        count = len(chain.replicas)
        stages = len(chain.stages)
        text = f"chain {chain.name}: {_many(stages, 'stage')}, {_many(count, 'process', 'es')}"
        return self._paint("bold", text)

    def line(self, happened: act.Announcement) -> str | None:
        """Return the line of an announcement; None where it would only repeat an earlier one."""
        if (
            isinstance(happened, act.GaveUp)
            and happened.retry_s is None
            and self._is_said(happened)
        ):
            return None
        return self._paint(*_tell(happened))

    def _is_said(self, happened: act.GaveUp) -> bool:
        """Return True if another replica gave the same reason, as replicas of a stage often do."""
        reason = happened.ending.evidence.said
        said = reason in self._reasons
        self._reasons.add(reason)
        return said and bool(reason)

    def summary(
        self, chain: Chain, totals: Totals, status: ExitStatus, after_s: float
    ) -> list[str]:
        """Return the last lines: counts of each stage, and the outcome of the chain."""
        lines = [f"  {name}: {text}" for name in chain.stages if (text := _became(totals, name))]
        for name, count in totals.lost_before.items():
            if count:
                text = f"an earlier run of this chain lost up to {say_messages(count)}"
                lines.append(self._paint("warning", f"  {name}: {text}; this one did not"))
        colour = {0: "good", QUARANTINED: "warning"}.get(status.exit_code, "bad")
        lines.append(self._paint(colour, describe_outcome(chain, status, after_s)))
        return lines

    @staticmethod
    def plain(line: str) -> str:
        """Return a line without its colour."""
        return _PAINT.sub("", line)

    def _paint(self, colour: str, text: str) -> str:
        code = _COLOURS[colour]
        return f"\033[{code}m{text}\033[0m" if self._colour and code else text


def describe_outcome(chain: Chain, status: ExitStatus, after_s: float) -> str:
    """Return how a chain has ended, in a sentence."""
    code, reasons = status
    how = "ended well" if code == 0 else f"ended with exit code {code}"
    text = f"chain {chain.name} {how} after {_seconds(after_s)}"
    return text + (f": {'; '.join(reasons)}" if reasons else "")


def sentence(happened: act.Announcement) -> str:
    """Return an announcement in words."""
    return _tell(happened)[1]


def _tell(happened: act.Announcement) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 (a table)
    """Return the colour and the text of an announcement."""
    match happened:
        case act.BecameReady(name, took_s):
            return "good", f"{name} ready after {_seconds(took_s)}"
        case act.ChainBecameReady(took_s):
            return "good", f"all ready after {_seconds(took_s)}"
        case act.Finished(name, after_s):
            return "plain", f"{name} finished after {_seconds(after_s)}"
        case act.WillRestart(name, ending, delay_s, attempt, limit):
            how = _how(name, ending)
            return "warning", f"{how}; {_restart(delay_s)} (try {attempt} of {limit})"
        case act.WillRetry(name, ending, delay_s):
            return "warning", f"{_waits(name, ending)}; {_try(delay_s)}"
        case act.GaveUp(name, ending, retry_s, until_changed):
            return "bad", f"{_how(name, ending)}; FAILED{_retry(retry_s, until_changed)}"
        case act.TriesAgain(name, file):
            return "plain", f"{name}: {file} has changed; starting it again"
        case act.RestartsOnRequest(name, by):
            return "plain", f"{name}: restarting, on {by}"
        case act.StopsOnRequest(name, by):
            return "plain", f"{name}: stopping, on {by}"
        case act.StoppedOnRequest(name):
            return "plain", f"{name} stopped until it is started by command"
        case act.StartsOnRequest(name, by):
            return "plain", f"{name}: starting, on {by}"
        case act.RestartsGivenUp(name, left):
            kept = name_replicas(left)
            return "warning", f"{name} failed after its restart; {kept} not restarted"
        case act.ReloadOrdered(by, keys):
            return "bold", f"reloading the chain file, on {by}: changed: {', '.join(keys)}"
        case act.Reloaded(took_s):
            return "good", f"reloaded after {_seconds(took_s)}"
        case act.RolledBack(why):
            return "bad", f"the chain file was not reloaded: {why}; all runs as it did before"
        case act.EndedBadly(name, ending):
            return "bad", _how(name, ending)
        case act.Draining(by, timeout_s, held):
            again = "Ctrl-C again" if by == "SIGINT" else "a second signal"
            text = f"draining, up to {_seconds(timeout_s)}; {again} stops it now"
            if held:
                names = name_replicas(held)
                text += f"; what waits for {names}, stopped by command, waits until it is started"
            return "bold", f"stopping because of {by}: {text}"
        case act.CutShort(left, by):
            names = ", ".join(map(str, left))
            return "bad", f"stopping now because of {by}; still running: {names}"
        case act.Killed(name, cause):
            return "bad", f"{name} killed: {cause}"
        case act.Hung(name, how):
            how = how.removeprefix("hung ")
            return "warning", f"{name} hangs: {how}; its stacks are saved, then it is killed"
        case act.BecameUnwell(name, condition):
            return "warning", f"{name} {UNWELL[condition]}"
        case act.BecameWell(name):
            return "good", f"{name} goes on"


def _restart(delay_s: float) -> str:
    return f"next in {_seconds(delay_s)}" if delay_s else "starting it again now"


def _waits(name: ReplicaName, ending: Ending) -> str:
    if ending.evidence.said:
        return f"{name} waits: {ending.evidence.said}"
    return f"{_how(name, ending)}, which asks to try later"


def _try(delay_s: float) -> str:
    return f"trying again in {_seconds(delay_s)}" if delay_s else "trying again now"


def _retry(retry_s: float | None, until_changed: bool) -> str:
    if until_changed:
        return "; it is started again once one of its files has changed"
    return "" if retry_s is None else f", next try in {_seconds(retry_s)}"


def _became(totals: Totals, stage: str) -> str:
    """Return the counts of a stage; empty where all of them are 0."""
    counted, left = totals.of(stage), totals.not_delivered(stage)
    shown = [f"{counted['received']:,} received{_detail(totals, stage)}"]
    shown += [f"{counted['sent']:,} sent"]
    for word in ENDS:
        if count := counted[word]:
            shown.append("1 error" if (word, count) == ("errors", 1) else f"{count:,} {word}")
    shown += [f"{left:,} not delivered"] if left else []
    return ", ".join(shown) if left or any(counted.values()) else ""


def _detail(totals: Totals, stage: str) -> str:
    """Return how many messages each of several inputs sent, and how many were sent again."""
    links = totals.received_from(stage)
    details = [f"{count:,} from {name}" for name, count in links.items()] if len(links) > 1 else []
    if repeated := totals.of(stage)["repeated"]:
        details.append(f"{repeated:,} sent again")
    return f" ({', '.join(details)})" if details else ""


def _how(name: ReplicaName, ending: Ending) -> str:
    return f"{name} {describe_end(ending, _seconds(ending.after_s))}"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _many(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{plural}"
