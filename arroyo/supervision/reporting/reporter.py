"""`Reporter`: what the supervisor writes: its log, the chain's event log, and its console."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from arroyo.config.event_names import EventName
from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.totals import QUARANTINED, ExitStatus, Totals, say_messages
from arroyo.telemetry.console import Console

from .console_report import ConsoleReport, sentence
from .count_changes import CountChanges, Counted
from .event_facts import KINDS, facts_of
from .event_log import EventLog, find_unended
from .stage_output import StageOutput

_log = logging.getLogger("arroyo.supervision")
_COUNTED: Mapping[Counted, str] = {
    "quarantined": "{} has put {} into quarantine",
    "lost": "{} has lost {}",
    "lost_before": "{}: the life before has lost up to {}",
}


class Reporter:
    """Tells people what a chain does, and passes on what its stages print.

    `console`: None: there is only the log, as under systemd.
    """

    def __init__(
        self,
        console: Console | None,
        colour: bool,
        run_directory: RunDirectory,
        events: EventLog,
    ) -> None:
        self._console = console
        self._report = ConsoleReport(colour)
        self._run_directory = run_directory
        self._events = events
        self._outputs: dict[ReplicaName, StageOutput] = {}
        self._waits_for: dict[ReplicaName, str] = {}
        self._counts = CountChanges()

    def close(self) -> None:
        """Close the files."""
        self._events.close()
        for output in self._outputs.values():
            output.close()

    def begin(self, chain: Chain) -> None:
        """Say what starts, and that the life before has died, if it has."""
        died = find_unended(self._run_directory.events)
        header = self._report.header(chain)
        self.say(header)
        self._events.note("chain-started", self._report.plain(header))
        if died is not None:
            last = died.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            text = (
                f"the supervisor before this one (pid {died.pid}) has ended without a word: it was "
                f"killed, or the machine went down; its last event was at {last}"
            )
            self.say(text)
            self._events.note("chain-died", text, level="WARNING", process=died.pid)

    def announce(self, happened: act.Announcement) -> None:
        """Tell what has happened; of a wait for the same thing only the first time."""
        if isinstance(happened, act.WillRetry) and self._still_waits(happened):
            return
        if isinstance(happened, act.BecameReady):
            self._waits_for.pop(happened.replica, None)
        event, level = KINDS[type(happened)]
        self._events.note(event, sentence(happened), level=level, **facts_of(happened))
        if line := self._report.line(happened):
            self.say(line)

    def _still_waits(self, happened: act.WillRetry) -> bool:
        """Return True if this was told before; `arroyo status` shows each try."""
        reason = happened.ending.evidence.said
        told = self._waits_for.get(happened.replica) == reason
        self._waits_for[happened.replica] = reason
        return told

    def note_start(self, started: ev.ProcessStarted) -> None:
        """Note a new process in the event log alone."""
        name, pid = started.replica, started.pid
        self._events.note("started", f"{name} started as pid {pid}", stage=str(name), process=pid)

    def note_counts(
        self, name: ReplicaName, page: Mapping[str, int], now: float, *, last: bool = False
    ) -> None:
        """Note in the event log that messages are in quarantine, or lost, as `page` counts them."""
        for what, _, more in self._counts.look(name, page, now, last=last):
            event: EventName = "quarantined" if what == "quarantined" else "lost"
            level = "WARNING" if what == "quarantined" else "ERROR"
            text = _COUNTED[what].format(name, say_messages(more))
            self._events.note(event, text, level=level, stage=str(name), count=more)

    def note_set(self, stage: str, values: str, by: str) -> None:
        """Tell that parameters of a stage have been set."""
        text = f"{stage}: {values}, on a set command ({by})"
        self._events.note("parameter-set", text, stage=stage, by=by)
        self.say(text)

    def note_order(self, event: EventName, text: str, by: str) -> None:
        """Note an order in the event log that was carried out elsewhere."""
        self._events.note(event, f"{text}, on an order ({by})", by=by)

    def note_refusal(self, order: str, by: str, reason: str) -> None:
        """Note in the event log that somebody asked in vain."""
        self._events.note("refused", f"{order} refused: {reason}", level="WARNING", by=by)

    def sum_up(self, chain: Chain, totals: Totals, status: ExitStatus, after_s: float) -> None:
        """Say what became of the messages, and how the chain has ended."""
        lines = self._report.summary(chain, totals, status, after_s)
        for line in lines:
            self.say(line)
        code = status.exit_code
        level = {0: "INFO", QUARANTINED: "WARNING"}.get(code, "ERROR")
        last = self._report.plain(lines[-1])
        self._events.note("chain-ended", last, level=level, exit_code=code)

    def say(self, line: str) -> None:
        """Write a line to the log and the console."""
        _log.info("%s", self._report.plain(line))
        if self._console is not None:
            self._console.write(line)

    def follow(self, name: ReplicaName) -> None:
        """Follow what a replica prints, from before its first process starts."""
        if self._console is not None and name not in self._outputs:
            self._outputs[name] = StageOutput(self._run_directory.log(name))

    def pass_on(self, names: Iterable[ReplicaName], now: float) -> None:
        """Show what replicas have printed and warned of, as far as the console keeps up."""
        if self._console is None or not self._console.is_ready:
            return
        for name in names:
            if lines := self._outputs[name].new_lines(now):
                self._show(name, lines)
                if not self._console.is_ready:
                    return

    def pass_on_rest(self, name: ReplicaName, said: str) -> None:
        """Show what an ended process has left, but for `said`, which is told with its end."""
        if (output := self._outputs.get(name)) is not None:
            self._show(name, output.last_lines(said))

    def _show(self, name: ReplicaName, lines: Sequence[str]) -> None:
        for line in lines:
            if self._console is not None:
                self._console.write(f"{name}: {line}")
