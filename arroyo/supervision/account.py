"""The account of a chain's life for the person at the terminal: announcements to lines. PURE."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName

from . import events as ev

_COLOURS = {"good": "32", "bad": "31", "warning": "33", "bold": "1"}
_PAINT = re.compile("\033\\[[0-9;]*m")
TOTALS = ("received", "sent", "errors", "dropped", "lost")
"""What the summary adds up, by its names on the status page."""


class Account:
    """Writes one line for each thing that happens.

    Parameters
    ----------
    colour
        Whether to colour lines (a terminal, and no NO_COLOR).
    """

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._reasons: set[str] = set()

    def header(self, chain: Chain) -> str:
        """Line that says what starts."""
        count = len(chain.replicas)
        stages = len(chain.stages)
        text = f"chain {chain.name}: {_many(stages, 'stage')}, {_many(count, 'process', 'es')}"
        return self._paint("bold", text)

    def line(self, happened: ev.Announcement, reason: str = "") -> str | None:
        """Tell one announcement; None where there is nothing to say that was not said before.

        `reason` is what the replica itself said last about why it ended.
        """
        match happened:
            case ev.BecameReady(name, took_s):
                return self._paint("good", f"{name} ready after {_seconds(took_s)}")
            case ev.ChainBecameReady(took_s):
                return self._paint("good", f"all ready after {_seconds(took_s)}")
            case ev.Finished(name, after_s):
                return f"{name} finished after {_seconds(after_s)}"
            case ev.WillRestart(name, ending, delay_s, attempt, limit):
                when = "starting it again now" if delay_s == 0 else f"next in {_seconds(delay_s)}"
                text = f"{_how(name, ending, reason)}; {when} (try {attempt} of {limit})"
                return self._paint("warning", text)
            case ev.GaveUp(name, ending, retry_s):
                return self._gave_up(name, ending, retry_s, reason)
            case ev.EndedBadly(name, ending):
                return self._paint("bad", _how(name, ending, reason))
            case ev.Draining(by, timeout_s):
                text = f"stopping because of {by}: sources first, at most {_seconds(timeout_s)}"
                return self._paint("bold", text)
            case ev.CutShort(left, by):
                text = f"stopping now because of {by}; still running: {_names(left)}"
                return self._paint("bad", text)
            case ev.Killed(name, cause):
                return self._paint("bad", f"{name} killed: {cause}")

    def _gave_up(
        self, name: ReplicaName, ending: ev.Ending, retry_s: float | None, reason: str
    ) -> str | None:
        """Say that a replica is FAILED; what all replicas of a stage complain of is said once."""
        if retry_s is None and reason in self._reasons:
            return None
        self._reasons.add(reason or str(name))
        what = "FAILED" if retry_s is None else f"FAILED, next try in {_seconds(retry_s)}"
        return self._paint("bad", f"{_how(name, ending, reason)}; {what}")

    def summary(
        self, chain: Chain, totals: Mapping[str, Mapping[str, int]], exit_code: int, after_s: float
    ) -> list[str]:
        """Lines at the end: totals of each stage that counted something, and how it went."""
        lines = []
        for name in chain.stages:
            counted = totals.get(name, {})
            shown = [f"{counted.get(word, 0):,} {word}" for word in TOTALS[:2]]
            shown += [f"{counted[word]:,} {word}" for word in TOTALS[2:] if counted.get(word)]
            if any(counted.get(word) for word in TOTALS):
                lines.append(f"  {name}: {', '.join(shown)}")
        how = "ended well" if exit_code == 0 else f"ended with exit code {exit_code}"
        verdict = f"chain {chain.name} {how} after {_seconds(after_s)}"
        lines.append(self._paint("good" if exit_code == 0 else "bad", verdict))
        return lines

    @staticmethod
    def plain(line: str) -> str:
        """Give a line without its colour."""
        return _PAINT.sub("", line)

    def _paint(self, colour: str, text: str) -> str:
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self._colour else text


def lossless_stages(chain: Chain) -> set[str]:
    """Stages that nothing may be lost on: reached from a source by push-pull links only."""
    found: set[str] = set()
    for level in chain.levels:
        for stage in level:
            if _is_lossless(stage, found):
                found.add(stage.name)
    return found


def _is_lossless(stage: Stage, above: set[str]) -> bool:
    return all(source.link == "push-pull" and source.stage in above for source in stage.inputs)


def _how(name: ReplicaName, ending: ev.Ending, reason: str) -> str:
    status, after = ending.status, _seconds(ending.after_s)
    if status is None:
        text = f"{name} could not be started"
    elif ending.cause:
        text = f"{name} ended after {after}"
    elif status < 0:
        text = f"{name} was killed ({_signal_name(-status)}) after {after}"
    else:
        text = f"{name} exited with {status} after {after}"
    detail = ending.cause or reason
    return f"{text}: {detail}" if detail else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _many(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{plural}"


def _names(names: Iterable[ReplicaName]) -> str:
    return ", ".join(map(str, names))
