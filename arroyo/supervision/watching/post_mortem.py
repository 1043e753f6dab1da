"""`PostMortem`: gathers what a dead process has left, before the next one overwrites it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.stacks import stacks_file, without_history
from arroyo.control.suspect_notes import (
    STACK_CHARACTERS,
    SuspectList,
    SuspectNote,
    leave_list,
    leave_suspect,
)
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.ending import FINISHED, Evidence, blame
from arroyo.telemetry.output import set_aside
from arroyo.telemetry.status_words import NO_SEQUENCE, Phase

from .oom_kills import OomKills
from .processes import Exit
from .replica_files import last_error, last_lines, last_output

LINE_CHARACTERS = 500
"""How much is told of each of the last lines."""
_log = logging.getLogger("arroyo.supervision")


class PostMortem:
    """Finds out how processes of a chain have ended, and which message may be to blame."""

    def __init__(self, chain: Chain, run_directory: RunDirectory) -> None:
        self._chain = chain
        self._run_directory = run_directory
        self.oom_kills = OomKills()

    def examine(
        self,
        name: ReplicaName,
        pid: int,
        end: Exit,
        page: Mapping[str, int],
        *,
        hung: str = "",
        too_large: str = "",
        said: str = "",
    ) -> Evidence:
        """Gather the evidence; if a message may be to blame, leave a note on that suspect.

        `page`: words of its status page; empty: it had none.
        `hung`, `too_large`: what the supervisor killed it for, in words; empty: it did not.
        `said`: the reason that it gave outside its log, if it gave one.
        """
        killed = end.status == -signal.SIGKILL
        out_of_memory = killed and not hung and not too_large and self.oom_kills.claim(pid)
        self.oom_kills.forget(pid)
        phase = _phase(page)
        if end.status == 0 and phase in {"", FINISHED}:
            return Evidence(phase=phase)
        log = self._run_directory.log(name)
        evidence = Evidence(
            message=self._message(page),
            said=said or last_error(log, pid),
            phase=phase,
            hung=hung,
            too_large=too_large,
            dumped_core=end.dumped_core,
            out_of_memory=out_of_memory,
            last_lines=_last_lines(log, pid),
        )
        reason = blame(end.status, evidence)
        stacks = set_aside(stacks_file(log)) if reason else None
        source = self._source(page)
        if reason and source is not None and page["hand_sequence"] != NO_SEQUENCE:
            self._note_suspect(name, source, page, reason, stacks)
        _report(name, evidence)
        return msgspec.structs.replace(evidence, stacks=str(stacks)) if stacks else evidence

    def _message(self, page: Mapping[str, int]) -> str:
        """Name the message in hand; empty where there is none."""
        source = self._source(page)
        if source is None:
            return ""
        if page["hand_sequence"] == NO_SEQUENCE:
            return f"a Start or Stop of {source}"
        first = page["hand_sequence"] - page["hand_base"]
        if _is_list(page):
            return f"{source} messages {first} to {page['hand_end'] - 1 - page['hand_base']}"
        return f"{source} message {first}"

    def _source(self, page: Mapping[str, int]) -> ReplicaName | None:
        """Return the source of the message in hand; None where there is none.

        The process has crashed, or was started from a chain file that has changed since: its page
        may make no sense.
        """
        place = page["hand_source"] - 1 if page else -1
        replicas = self._chain.replicas
        return replicas[place] if 0 <= place < len(replicas) else None

    def _note_suspect(
        self,
        name: ReplicaName,
        source: ReplicaName,
        page: Mapping[str, int],
        reason: str,
        stacks: Path | None,
    ) -> None:
        place = str(source), page["hand_epoch"], page["hand_sequence"]
        stack = _read_stacks(stacks)[:STACK_CHARACTERS] if stacks else ""
        try:
            if _is_list(page):
                leave_list(self._run_directory, name, SuspectList(*place, page["hand_end"]))
            else:
                leave_suspect(self._run_directory, name, SuspectNote(*place, reason, stack))
        except OSError as error:
            # The message is tried again like any other: no worse than without a supervisor.
            _log.warning("%s: the note on its suspect can't be written: %s", name, error.strerror)


def _last_lines(log: Path, pid: int) -> tuple[str, ...]:
    lines = last_lines(log, pid)
    if printed := last_output(log):
        lines += ["its last output:", *printed]
    return tuple(line[:LINE_CHARACTERS] for line in lines)


def _report(name: ReplicaName, evidence: Evidence) -> None:
    """Write to the supervisor's log what is too long for the console."""
    place = f"at {evidence.phase or 'the start'}"
    in_hand = f" with {evidence.message} in hand" if evidence.message else ""
    lines = "\n".join(evidence.last_lines)
    _log.info("%s ended %s%s; last log lines:\n%s", name, place, in_hand, lines)


def _is_list(page: Mapping[str, int]) -> bool:
    """Return True if not a single message was in hand but a list of them."""
    return page["hand_end"] > page["hand_sequence"] + 1


def _read_stacks(path: Path) -> str:
    return without_history(path.read_text(errors="replace"))


def _phase(page: Mapping[str, int]) -> str:
    """Return the name of a process's phase; empty where it is not known."""
    found = page.get("phase")
    return Phase(found).name if found in set(Phase) else ""
