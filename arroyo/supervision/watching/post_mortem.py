"""What a dead process has left behind is gathered here, before the next one writes over it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.stacks import set_aside, stacks_file, without_history
from arroyo.control.suspect_note import STACK_CHARACTERS, SuspectNote, leave_suspect
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.ending import FINISHED, Evidence, blame
from arroyo.telemetry.status_words import Phase

from .memory_kills import MemoryKills
from .processes import Exit
from .replica_files import last_error, last_lines, last_output

_log = logging.getLogger("arroyo.supervision")


class PostMortem:
    """Finds out how processes of a chain have ended, and which message may be to blame.

    Parameters
    ----------
    chain, run_directory
        The chain and where its replicas leave their traces.
    """

    def __init__(self, chain: Chain, run_directory: RunDirectory) -> None:
        self._chain = chain
        self._run_directory = run_directory
        self.memory_kills = MemoryKills()

    def examine(
        self,
        name: ReplicaName,
        pid: int,
        end: Exit,
        page: Mapping[str, int],
        *,
        hung: str = "",
        said: str = "",
    ) -> Evidence:
        """Gather the evidence; where a message may be to blame, note it down as a suspect.

        Parameters
        ----------
        name, pid, end
            Whose end it was.
        page
            Words of its status page; empty: it had none.
        hung
            In which way it hung, if it did.
        said
            What it said about its end, other than in its log.
        """
        killed = end.status == -signal.SIGKILL
        out_of_memory = killed and not hung and self.memory_kills.claim(pid)
        self.memory_kills.forget(pid)
        phase = _phase(page)
        if end.status == 0 and phase in {"", FINISHED}:
            return Evidence(phase=phase)
        log = self._run_directory.log(name)
        evidence = Evidence(
            message=self._message(page),
            said=said or last_error(log, pid),
            phase=phase,
            hung=hung,
            dumped_core=end.dumped_core,
            out_of_memory=out_of_memory,
        )
        reason = blame(end.status, evidence)
        stacks = set_aside(stacks_file(log)) if reason else None
        source = self._source(page)
        if reason and source is not None and page["hand_sequence"]:
            self._note_suspect(name, source, page, reason, stacks)
        self._report(name, pid, evidence)
        return msgspec.structs.replace(evidence, stacks=str(stacks)) if stacks else evidence

    def _message(self, page: Mapping[str, int]) -> str:
        """Name the message in hand; empty where there is none."""
        source = self._source(page)
        if source is None:
            return ""
        if not page["hand_sequence"]:
            return f"a Start or Stop of {source}"
        return f"{source} message {page['hand_sequence'] - 1 - page['hand_base']}"

    def _source(self, page: Mapping[str, int]) -> ReplicaName | None:
        """Whose the message in hand is; None where there is none.

        The page is of a process that crashed, or was started from a chain file that has changed:
        what it says may make no sense.
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
        suspect = SuspectNote(
            source=str(source),
            epoch=page["hand_epoch"],
            sequence=page["hand_sequence"] - 1,
            reason=reason,
            stack=_read_stacks(stacks)[:STACK_CHARACTERS] if stacks else "",
        )
        try:
            leave_suspect(self._run_directory, name, suspect)
        except OSError as error:
            # The message is tried again like any other: no worse than without a supervisor.
            _log.warning("%s: its suspect can't be noted down: %s", name, error.strerror)

    def _report(self, name: ReplicaName, pid: int, evidence: Evidence) -> None:
        """Put into the supervisor's log what is too long for the terminal."""
        place = f"at {evidence.phase or 'the start'}"
        in_hand = f" with {evidence.message} in hand" if evidence.message else ""
        log = self._run_directory.log(name)
        lines = last_lines(log, pid)
        if printed := last_output(log):
            lines += ["its last output:", *printed]
        _log.info("%s ended %s%s; last log lines:\n%s", name, place, in_hand, "\n".join(lines))


def _read_stacks(path: Path) -> str:
    return without_history(path.read_text(errors="replace"))


def _phase(page: Mapping[str, int]) -> str:
    """Name what a process was at; empty where nobody knows."""
    found = page.get("phase")
    return Phase(found).name if found in set(Phase) else ""
