"""`RunningChain`: a chain that people give orders to, by its supervisor's control socket."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arroyo.config.reader import find_chain
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.locks import owner
from arroyo.control.requests import not_running, request
from arroyo.errors import ArroyoError, UnavailableError, UsageError
from arroyo.supervision.decisions.events import State
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.log_reader import LogReader

from .restarts import Restarts, judge_restarts, say_delays

LOOK_EVERY_S = 0.1
PATIENCE_S = 2.0
"""After this time it is said what parameters wait for."""
SUPERVISOR = "supervisor"
IDS_AT_ONCE = 100
"""So many fit into one request."""


class Scaled(NamedTuple):
    """Replicas of a stage, after an order of how many are to work."""

    stage: str
    working: list[str]
    stopping: list[str]

    def say(self, stopping: str) -> str:
        """Return it in words; `stopping`: what is said of those that are not to work."""
        stopped = f"; {stopping}: {', '.join(self.stopping)}" if self.stopping else ""
        return f"{self.stage}: {', '.join(self.working) or 'none'}{stopped}"


class RunningChain:
    """A chain by its file or its name; by its name also if the file has been spoilt meanwhile.

    Raises
    ------
    UsageError
        There is no such chain, or it belongs to another user.
    """

    _file: Path | None

    def __init__(self, chain: str) -> None:
        self._file = find_chain(chain)
        try:
            self.name = load_accepted(self._file).name
        except ArroyoError:
            if self._file == Path(chain):
                raise
            self.name = chain
        self._find(os.environ)

    @classmethod
    def named(cls, name: str, environ: Mapping[str, str]) -> RunningChain:
        """Return the chain of this name, whatever has become of its file."""
        chain = cls.__new__(cls)
        chain.name = name
        chain._find(environ)
        chain._file = chain._run_directory.chain_file(name)
        return chain

    def _find(self, environ: Mapping[str, str]) -> None:
        if hidden := find_hidden(self.name, environ):
            raise UsageError(hidden)
        self._run_directory = RunDirectory.locate(self.name, environ)

    def ask(
        self,
        verb: str,
        stage: str | None = None,
        number: int = 0,
        values: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the supervisor's answer; errors as in `request`, and UsageError for no name.

        `stage`: stage or replica; None: the whole chain.
        """
        if stage == "":  # a variable of a script that is not set must not stop the whole chain
            raise UsageError("the name of the stage is empty; leave it out to mean the whole chain")
        try:
            return request(self._run_directory.control, verb, stage or "", number, values=values)
        except UnavailableError as error:
            if running := self._stages_by_hand():
                raise UnavailableError(
                    f"chain {self.name} has no supervisor that could do that. "
                    f"{_explain_running(running)}: arroyo status {self.name}"
                ) from error
            if self.supervisor is None:
                raise not_running(self.name, self._file) from error
            raise

    @property
    def supervisor(self) -> int | None:
        """Pid of the supervisor; None where there is none."""
        return owner(self._run_directory.lock(SUPERVISOR))

    def set_parameters(
        self, stage: str, values: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        """Have all processes of a stage take parameters, and wait for that.

        `say`: takes a sentence for people where that takes a while.

        Raises
        ------
        UnavailableError
            No supervisor answers, or it can't tell the processes, as on a full disk.
        UsageError
            It refuses, or a process does.
        """
        number = str(self.ask("set", stage, values=values)["number"])
        say_at = time.monotonic() + PATIENCE_S
        while number not in (answer := self.ask("parameters", stage))["outcomes"]:
            if time.monotonic() >= say_at:
                names = ", ".join(answer["waits_for"])
                say(f"waiting for {names}, between two messages")
                say_at = float("inf")
            time.sleep(LOOK_EVERY_S)
        refusal, may_pass = answer["outcomes"][number]
        if refusal:
            raise UnavailableError(refusal) if may_pass else UsageError(refusal)

    def _stages_by_hand(self) -> Sequence[str]:
        """Name the stages that run without a supervisor; empty: none, or there is one."""
        locks = {lock.name: owner(lock) for lock in self._run_directory.locks}
        held = [name for name, pid in locks.items() if pid is not None]
        return [] if SUPERVISOR in held else held

    def restart(self, stage: str | None) -> dict[str, int | None]:
        """Have a stage or replica restarted, or all (None); return which, with their pids so far.

        Raises
        ------
        UnavailableError
            No supervisor answers.
        UsageError
            There is nothing to restart.
        """
        former: dict[str, int | None] = self.ask("restart", stage)["former"]
        if not former:
            raise UsageError(
                f"{stage or self.name} has finished or is stopped; there is nothing to restart"
            )
        return former

    def wait_until_restarted(
        self, former: Mapping[str, int | None], say: Callable[[str], None]
    ) -> Restarts:
        """Wait until all of these are back, or it is clear that they are not; return how it went.

        `say`: takes a sentence about each that has to be started once more.

        UnavailableError: the chain is being stopped.
        """
        told: set[str] = set()
        while True:
            reply = self.ask("status")
            found = judge_restarts(former, reply)
            if not found.waiting:
                return found
            if reply["stopping"]:
                raise UnavailableError("the chain is being stopped, so not all of it was restarted")
            for delay in say_delays(found.waiting, reply):
                if delay not in told:
                    say(delay)
                    told.add(delay)
            time.sleep(LOOK_EVERY_S)

    def stop(self, stage: str) -> list[str]:
        """Have a stage or replica stopped in order; return the replicas that are to stop.

        Errors as in `restart`.
        """
        replicas: list[str] = self.ask("stop", stage)["replicas"]
        if not replicas:
            raise UsageError(f"{stage} has finished; there is nothing to stop")
        return replicas

    def start(self, stage: str | None) -> str:
        """Have started what is stopped or has FAILED, all of it (None); return what will be done.

        UnavailableError: no supervisor answers.
        """
        replicas = self.ask("start", stage)["replicas"]
        if replicas:
            return f"starting {', '.join(replicas)}"
        return f"nothing of {stage or self.name} is stopped or has FAILED"

    def scale(self, stage: str, number: int) -> Scaled:
        """Have so many processes of a stage work, and stop the others; errors as in `ask`."""
        answer = self.ask("scale", stage, number)
        return Scaled(stage, answer["working"], answer["stopping"])

    def note_quarantine(self, verb: str, ids: Sequence[str]) -> None:
        """Have the event log say which messages were requeued or dropped, if the chain runs.

        `verb`: ``"requeue"`` or ``"drop"``.
        """
        for at in range(0, len(ids), IDS_AT_ONCE):
            with contextlib.suppress(UnavailableError, UsageError):  # an older one does not know it
                self.ask(verb, values={"ids": list(ids[at : at + IDS_AT_ONCE])})

    def warnings_of(self, in_the_way: Sequence[str]) -> list[str]:
        """Return a warning of each replica that is stopped, and so keeps work from being done."""
        return [
            f"warning: {name} is stopped; what waits for it is not finished, unless you say "
            f"in another terminal: arroyo start {self.name} {name}"
            for name in in_the_way
        ]

    def wait_until_stopped(self, names: Sequence[str]) -> list[str]:
        """Wait until these replicas have no process any more; return why, of those that died.

        Raises
        ------
        UnavailableError
            Somebody has them started again, or the whole chain has ended.
        """
        while True:
            rows = {row["replica"]: row for row in self.ask("status")["replicas"]}
            found = [rows[name] for name in names]
            if all(row["state"] == State.STOPPED for row in found):
                return [f"{row['replica']} {row['reason']}" for row in found if row["reason"]]
            for row in found:
                if row["state"] != State.STOPPED and not row["stopped_by"]:
                    raise UnavailableError(
                        f"{row['replica']} does not stop: somebody has had it started again "
                        f"meanwhile; see: arroyo events {self.name} {row['replica']}"
                    )
            time.sleep(LOOK_EVERY_S)

    def wait_for_end(self, pid: int) -> EventLine | None:
        """Wait until the supervisor has ended; return its account, if it could leave one.

        `pid`: that of the supervisor, as it said itself.
        """
        lock = self._run_directory.lock(SUPERVISOR)
        holder = owner(lock)
        while holder is not None and owner(lock) == holder:
            time.sleep(LOOK_EVERY_S)
        with contextlib.closing(LogReader(self._run_directory.events, EventLine)) as reader:
            ends = [line for line in reader.read() if line.event == "chain-ended"]
        return next((line for line in reversed(ends) if line.pid == pid), None)


def _explain_running(names: Sequence[str]) -> str:
    """Say why replicas run without a supervisor, and what to do."""
    if len(names) == 1:
        return (
            f"{names[0]} runs by hand or as a unit of systemd, so stop and start it there; or its "
            "supervisor has died, and it ends by itself"
        )
    return (
        f"{', '.join(names[:-1])} and {names[-1]} run by hand or as units of systemd, so stop and "
        "start them there; or their supervisor has died, and they end by themselves"
    )
