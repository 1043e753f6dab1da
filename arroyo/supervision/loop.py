"""The supervisor: one thread around one poll, which carries out what the state machine decides.

It blocks until a process ends, a stage says something, a signal or a request comes, or the next
deadline; so an idle chain costs it nothing. Nothing here waits for anything else: not for a
terminal, not for a client, not for a log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from arroyo.clock import Clock, SystemClock
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.config.state_directory import find_strangers
from arroyo.control.history_file import history_text, leave_history
from arroyo.control.locks import Lock, owner
from arroyo.control.meeting import settle_folders
from arroyo.control.notify import Notifier, NotifySocket
from arroyo.control.requests import RequestServer
from arroyo.errors import AlreadyRunningError, ConfigurationError
from arroyo.identifiers import ReplicaName
from arroyo.runner.quarantine.store import Quarantine
from arroyo.runner.user_code.checking import check_in_child
from arroyo.telemetry.console import Console
from arroyo.telemetry.logs import configure_logging, is_journal

from .decisions import events as ev
from .decisions.corrections import Corrections
from .decisions.ending import describe_end
from .decisions.replica import ReplicaState
from .decisions.state_machine import ChainMachine
from .decisions.totals import Totals, Verdict
from .reporting.console_report import ConsoleReport
from .reporting.overheard import Overheard
from .watching import child
from .watching.health_monitor import HealthMonitor
from .watching.orphans import adopts_orphans, reap_orphans
from .watching.post_mortem import PostMortem
from .watching.processes import Spawner, StageProcess, Target
from .watching.replica_files import idle_since
from .watching.signal_bytes import signals_as_bytes

IDLE_CHECK_S = 0.5
REASON_CHARACTERS = 500
"""What `arroyo status` is told of why a replica is down; an answer has its limits."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
_IGNORED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Their default is to end a process without a word."""
_log = logging.getLogger("arroyo.supervision")


def supervise(
    chain: Chain,
    environ: MutableMapping[str, str] = os.environ,
    target: Target = child.main,
    check: Callable[[Path], Sequence[str]] = check_in_child,
) -> int:
    """Run a chain until it has finished or was stopped; return the exit code for it.

    Parameters
    ----------
    chain
        What to run; its run directory is made where missing.
    environ
        Says where the run directory is, and what systemd wants; taken out of it is what the
        stages must not inherit.
    target
        The function that is a stage's process.
    check
        Finds the mistakes of a chain file that make it useless to start anything.

    Raises
    ------
    AlreadyRunningError
        The chain has a supervisor.
    ConfigurationError
        The chain has mistakes, or the run directory can't be made or used.
    """
    run_directory = RunDirectory.locate(chain.name, environ)
    run_directory.create()
    try:
        lock = Lock.acquire(run_directory.lock("supervisor"))
    except AlreadyRunningError as error:
        raise _already_running(chain, run_directory) from error
    try:
        folders = settle_folders(chain, environ, lock)
        if problems := check(chain.path):
            raise ConfigurationError(*problems)
        # Under systemd the lines of the log are in the journal already.
        console = None if is_journal(2) else Console(1)
        configure_logging(
            run_directory.log("supervisor"),
            "supervisor",
            chain.name,
            console and Console(1),
            console_level=logging.WARNING,
        )
        colour = console is not None and console.is_terminal and not environ.get("NO_COLOR")
        with contextlib.closing(console) if console else contextlib.nullcontext():
            supervisor = Supervisor(
                chain,
                folders,
                lock,
                notifier=Notifier.from_environ(environ),
                console=console,
                account=ConsoleReport(colour),
                target=target,
                clock=SystemClock(),
            )
            with contextlib.closing(supervisor):
                return supervisor.run()
    finally:
        lock.release()


def _already_running(chain: Chain, run_directory: RunDirectory) -> AlreadyRunningError:
    file = run_directory.chain_file(chain.name)
    return AlreadyRunningError(
        f'chain "{chain.name}" is already running (supervisor pid '
        f"{owner(run_directory.lock('supervisor'))}{f', started from {file}' if file else ''}); "
        "stop it first, or give this chain another name"
    )


class Supervisor:
    """The loop of one chain; see `supervise`, which holds the lock around it."""

    def __init__(
        self,
        chain: Chain,
        folders: Folders,
        lock: Lock,
        *,
        notifier: Notifier,
        console: Console | None,
        account: ConsoleReport,
        target: Target,
        clock: Clock,
    ) -> None:
        self._chain = chain
        self._lock = lock
        self._state = folders.state
        run_directory = folders.run
        self._notifier = notifier
        self._console = console
        self._account = account
        self._monotonic = clock.monotonic
        self._began_at = self._monotonic()
        self._machine = ChainMachine(
            chain,
            importing_limit=len(os.sched_getaffinity(0)),
            random=random.random,
            now=self._began_at,
        )
        self._processes: dict[ReplicaName, StageProcess] = {}
        self._said: dict[ReplicaName, str] = {}
        self._overheard: dict[ReplicaName, Overheard] = {}
        self._run_directory = run_directory
        self._post_mortem = PostMortem(chain, run_directory)
        self._corrections = Corrections(chain)
        self._adopts_orphans = adopts_orphans()
        self._totals = Totals(chain)
        self._quarantine = Quarantine(folders.state.quarantine)
        self._events: deque[ev.Event] = deque()
        self._trouble: Verdict | None = None
        self._resources = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._words = opened.enter_context(
                contextlib.closing(NotifySocket(run_directory.notify))
            )
            self._selector.register(self._words, selectors.EVENT_READ, self._hear_words)
            self._requests = opened.enter_context(
                contextlib.closing(
                    RequestServer(
                        run_directory.control,
                        self._selector,
                        {
                            "status": self._status,
                            "stop": self._stop,
                            "history": self._history,
                        },
                        self._monotonic,
                    )
                )
            )
            wakes = opened.enter_context(signals_as_bytes(self._signals()))
            self._selector.register(wakes, selectors.EVENT_READ, lambda: self._hear_signals(wakes))
            self._lookout = opened.enter_context(HealthMonitor(run_directory))
            self._resources = opened.pop_all()
        self._spawner = Spawner(
            chain, folders, {"NOTIFY_SOCKET": str(run_directory.notify)}, target
        )

    def close(self) -> None:
        """Give back files, sockets, signals. Processes that could not be killed are left alone."""
        for overheard in self._overheard.values():
            overheard.close()
        self._resources.close()

    def run(self) -> int:
        """Run the chain to its end; return its exit code."""
        try:
            return self._run()
        except Exception:
            text = history_text("supervisor", self._machine.history)
            left = leave_history(self._run_directory.log("supervisor"), text)
            _log.exception("the supervisor has failed; what it did last is in %s", left)
            raise

    def _run(self) -> int:
        self._say(self._account.header(self._chain))
        for stranger in find_strangers(self._chain, self._state):
            self._say(f"warning: {stranger}")
        self._handle(ev.Tick())
        while self._trouble is None:
            ready = self._selector.select(self._timeout_s())
            # Before deaths: that a stage drains explains why the ones below it end.
            self._hear_words()
            for key, _ in ready:
                key.data()
            if self._adopts_orphans:
                reap_orphans({process.pid for process in self._processes.values()})
            self._requests.expire()
            self._notifier.watchdog()
            self._look_out()
            self._look_for_idle()
            self._look_for_corrections()
            self._look_for_removal()
            self._handle(ev.Tick())
        waiting = len(self._quarantine.entries())
        return self._sum_up(self._totals.verdict(self._trouble, waiting=waiting))

    def _timeout_s(self) -> float | None:
        now = self._monotonic()
        times = [self._machine.next_at, self._requests.next_at, self._lookout.next_at]
        if self._machine.awaiting_end:
            times.append(now + IDLE_CHECK_S)
        if self._machine.awaiting_correction:
            times.append(self._corrections.next_at)
        if self._notifier.watchdog_interval_s is not None:
            times.append(now + self._notifier.watchdog_interval_s)
        next_at = min((time for time in times if time is not None), default=None)
        return None if next_at is None else max(0.0, next_at - now)

    # Events.

    def _hear_words(self) -> None:
        by_pid = {process.pid: name for name, process in self._processes.items()}
        for pid, fields in self._words.receive():
            if (name := by_pid.get(pid)) is None:
                continue
            if fields.get("READY") == "1":
                self._said.pop(name, None)
                # It may have been moved meanwhile, into a group of its own.
                self._post_mortem.memory_kills.watch(pid)
                self._handle(ev.Ready(name))
            elif "STATUS" in fields:
                self._said[name] = fields["STATUS"]
            if fields.get("STOPPING") == "1":
                self._handle(ev.Stopping(name))

    def _hear_signals(self, wakes: socket.socket) -> None:
        for number in wakes.recv(64):
            if number in _STOP_SIGNALS:
                # A terminal that closes sends two of them, which do not mean: now.
                if number != signal.SIGHUP or not self._machine.replicas.stopping:
                    self._handle(ev.StopRequested(signal.Signals(number).name))
            elif number in _IGNORED_SIGNALS:
                self._say(
                    f"{signal.Signals(number).name} is ignored: it means nothing here. "
                    "Ctrl-C or SIGTERM stops the chain"
                )

    def _signals(self) -> list[signal.Signals]:
        """List the signals to hear."""
        found = [*_STOP_SIGNALS, *_IGNORED_SIGNALS]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            found.remove(signal.SIGHUP)  # nohup
        return [*found, signal.SIGCHLD] if self._adopts_orphans else found

    def _hear_end(self, name: ReplicaName) -> None:
        process = self._processes.pop(name)
        self._selector.unregister(process)
        page = self._lookout.page(name, process.pid)
        self._lookout.forget(name)
        self._totals.note(name, page)
        end = process.reap()
        evidence = self._post_mortem.examine(
            name,
            process.pid,
            end,
            page,
            hung=self._machine.replicas[name].hung,
            said=self._said.pop(name, ""),
        )
        if (overheard := self._overheard.get(name)) is not None:
            self._show(name, overheard.last_look(evidence.said))
        self._handle(ev.ProcessEnded(name, end.status, evidence))

    def _look_out(self) -> None:
        now = self._monotonic()
        looks = self._lookout.next_at is not None and now >= self._lookout.next_at
        for name, verdict in self._lookout.look(now):
            self._handle(ev.Judged(name, *verdict))
        if looks:
            self._listen_in(now)

    def _listen_in(self, now: float) -> None:
        """Show what the stages print and warn of, as far as the console keeps up."""
        for name in self._processes:
            if self._console is None or not self._console.is_ready:
                return
            self._show(name, self._overheard[name].look(now))

    def _show(self, name: ReplicaName, lines: Sequence[str]) -> None:
        for line in lines:
            if self._console is not None:
                self._console.write(f"{name}: {line}")

    def _look_for_idle(self) -> None:
        for name in self._machine.awaiting_end:
            since = idle_since(self._lookout.page(name, self._processes[name].pid))
            if since is not None:
                self._handle(ev.Idle(name, since))

    def _look_for_corrections(self) -> None:
        awaited = self._machine.awaiting_correction
        for name, file in self._corrections.look(awaited, self._monotonic()):
            self._handle(ev.Corrected(name, file))

    def _look_for_removal(self) -> None:
        if not self._lock.is_in_place:
            self._handle(ev.FolderRemoved(str(self._run_directory.path)))

    # Actions.

    def _handle(self, event: ev.Event) -> None:
        self._events.append(event)
        if len(self._events) > 1:
            return  # an action below led here: its event waits for its turn
        while self._events:
            for action in self._machine.handle(self._events[0], self._monotonic()):
                self._carry_out(action)
            self._events.popleft()

    def _carry_out(self, action: ev.Action) -> None:
        match action:
            case ev.Spawn(name):
                self._handle(self._spawn(name))
            case ev.Signal(name, number):
                if name in self._processes:
                    self._processes[name].send(number)
            case ev.Finish(exit_code, reasons):
                self._trouble = Verdict(exit_code, reasons)
            case _:
                self._announce(action)

    def _spawn(self, name: ReplicaName) -> ev.ProcessStarted | ev.StartFailed:
        self._corrections.note(name)
        if self._console is not None and name not in self._overheard:
            self._overheard[name] = Overheard(self._run_directory.log(name))
        try:
            process = self._spawner.spawn(name)
        except OSError as error:
            return ev.StartFailed(name, str(error.strerror or error))
        self._processes[name] = process
        timeout_s = self._chain.stages[name.stage].process_timeout_s
        self._lookout.watch(name, process.pid, timeout_s, self._monotonic())
        self._post_mortem.memory_kills.watch(process.pid)
        self._selector.register(process, selectors.EVENT_READ, lambda: self._hear_end(name))
        return ev.ProcessStarted(name, process.pid)

    def _announce(self, happened: ev.Announcement) -> None:
        match happened:
            case ev.ChainBecameReady():
                self._notifier.ready(f"{len(self._chain.replicas)} processes ready")
            case ev.Draining():
                self._notifier.stopping()
        if line := self._account.line(happened):
            self._say(line)

    def _say(self, line: str) -> None:
        _log.info("%s", self._account.plain(line))
        if self._console is not None:
            self._console.write(line)

    # Answers.

    def _status(self) -> dict[str, Any]:
        now = self._monotonic()
        return {
            "state": self._machine.state,
            "replicas": [_row(replica, now) for replica in self._machine.replicas],
        }

    def _stop(self) -> dict[str, Any]:
        self._handle(ev.StopRequested("a stop command"))
        return {"state": self._machine.state}

    def _history(self) -> dict[str, Any]:
        return {"text": history_text("supervisor", self._machine.history)}

    def _sum_up(self, verdict: Verdict) -> int:
        after_s = self._monotonic() - self._began_at
        for line in self._account.summary(self._chain, self._totals, verdict, after_s):
            self._say(line)
        return verdict.exit_code


def _row(replica: ReplicaState, now: float) -> dict[str, Any]:
    """Say what `arroyo status` is to know of a replica."""
    ending, due_at = replica.ending, replica.due_at
    why = describe_end(ending, f"{ending.after_s:.3g} s") if ending is not None else ""
    return {
        "replica": str(replica.name),
        "state": replica.seen_state,
        "pid": replica.pid,
        "restarts": replica.restarts,
        "uptime_s": round(now - replica.spawned_at, 3) if replica.alive else None,
        "reason": why[:REASON_CHARACTERS] or None,
        "next_try_s": None if ending is None or due_at is None else round(max(0, due_at - now), 3),
    }
