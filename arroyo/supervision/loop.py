"""The supervisor: one thread around one poll, which carries out what the state machine decides.

It blocks until a process ends, a stage notifies, a signal or a request comes, or a deadline is due;
so an idle chain costs it nothing. It waits for nothing else: no terminal, no client, no log.
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
from collections.abc import Iterator

from arroyo.clock import Clock
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.config.http_address import HttpAddress
from arroyo.config.state_directory import find_strangers
from arroyo.control.away_note import write_away
from arroyo.control.history_file import history_text, leave_history
from arroyo.control.locks import Lock
from arroyo.control.notify import Notifier
from arroyo.control.request_server import RequestServer
from arroyo.errors import ArroyoError
from arroyo.identifiers import ReplicaName
from arroyo.runner.quarantine.store import Quarantine

from .answers import make_answers
from .decisions import actions as act
from .decisions import events as ev
from .decisions.replica import is_due
from .decisions.state_machine import ChainMachine
from .decisions.totals import ExitStatus, Totals
from .parameter_orders import ParameterOrders
from .reporting.reporter import Reporter
from .watching.chain_checks import ChainChecks
from .watching.corrected_files import CorrectedFiles
from .watching.event_hook import EventHook
from .watching.http_process import NAME as HTTP_NAME
from .watching.http_process import HttpProcess
from .watching.orphans import adopts_orphans, reap_orphans
from .watching.process_table import ProcessTable
from .watching.processes import Spawner
from .watching.signal_bytes import STOP_SIGNALS, say_ignored, signals_as_bytes, signals_to_take
from .watching.spawning import Target

IDLE_CHECK_S = 0.5
_log = logging.getLogger("arroyo.supervision")


class Supervisor:
    """Runs one chain. The caller holds the lock of the chain's supervisor.

    `http`: what serves the chain's metrics, if the chain file says where.
    """

    def __init__(
        self,
        chain: Chain,
        folders: Folders,
        lock: Lock,
        *,
        notifier: Notifier,
        reporter: Reporter,
        hook: EventHook,
        spawner: Spawner,
        clock: Clock,
        http: Target | None = None,
    ) -> None:
        self._chain = chain
        self._folders = folders
        self._lock = lock
        self._notifier = notifier
        self._reporter = reporter
        self._hook = hook
        self._monotonic = clock.monotonic
        self._began_at = self._monotonic()
        self._machine = ChainMachine(
            chain,
            importing_limit=len(os.sched_getaffinity(0)),
            random=random.random,
            now=self._began_at,
        )
        self._corrected_files = CorrectedFiles(chain)
        self._adopts_orphans = adopts_orphans()
        self._totals = Totals(chain)
        self._events: deque[ev.Event] = deque()
        self._trouble: ExitStatus | None = None
        self._away: tuple[ReplicaName, ...] | None = None
        """The replicas that `away_note` names; None: those of an earlier supervisor."""
        self._parameters = ParameterOrders(
            chain, self._machine.replicas.ready, folders.run.parameters, reporter
        )
        with contextlib.ExitStack() as opened:
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._processes = ProcessTable(
                chain,
                folders,
                spawner,
                self._selector,
                on_notification=self._take_notifications,
                on_end=self._take_end,
            )
            opened.callback(self._processes.close)
            self._spawner = spawner
            self._chain_checks = ChainChecks(
                chain.path, folders.run, self._selector, self._monotonic
            )
            opened.callback(self._chain_checks.close)
            answers = make_answers(
                self._machine,
                self._handle,
                reporter.note_refusal,
                reporter.note_order,
                self._monotonic,
                chain_checks=self._chain_checks,
                parameters=self._parameters,
            )
            self._requests = RequestServer(
                folders.run.control, self._selector, answers, self._monotonic
            )
            opened.callback(self._requests.close)
            self._http: list[HttpProcess] = []
            if http is not None and (address := chain.supervision.http) is not None:
                process = HttpProcess(
                    HttpAddress.parse(address),
                    lambda: spawner.spawn_beside(http, HTTP_NAME),
                    self._selector,
                    folders.run.log(HTTP_NAME),
                    say=reporter.say,
                    monotonic=self._monotonic,
                )
                opened.callback(process.close)
                self._http.append(process)
            numbers = opened.enter_context(signals_as_bytes(signals_to_take(self._adopts_orphans)))
            self._selector.register(
                numbers, selectors.EVENT_READ, lambda: self._take_signals(numbers)
            )
            self._resources = opened.pop_all()

    def close(self) -> None:
        """Give back files, sockets, signals. Processes that could not be killed are left alone."""
        # All is done: from here on no signal may end this process with another exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self._resources.close()

    def run(self) -> int:
        """Run the chain to its end; return its exit code."""
        try:
            return self._run()
        except Exception:  # a defect of ours: leave what led to it
            text = history_text("supervisor", self._machine.history)
            left = leave_history(self._folders.run.log("supervisor"), text)
            _log.exception("the supervisor has failed; what it did last is in %s", left)
            raise

    def _run(self) -> int:
        self._reporter.begin(self._chain)
        for stranger in find_strangers(self._chain, self._folders.state):
            self._reporter.say(f"warning: {stranger}")
        self._note_away()  # an earlier supervisor may have left other names
        self._handle(ev.Tick())
        while self._trouble is None:
            ready = self._selector.select(self._timeout_s())
            # Before the ends of processes: a stage that drains explains why those below it end.
            self._take_notifications()
            for key, _ in ready:
                key.data()
            for process in self._http:
                process.start_if_due()
            self._hook.look()
            if self._adopts_orphans:
                beside = (each.pids for each in self._http)
                reap_orphans(
                    self._processes.pids.union(self._hook.pids, self._chain_checks.pids, *beside)
                )
            self._requests.expire()
            self._chain_checks.expire()
            self._notifier.watchdog()
            for event in self._look_out():
                self._handle(event)
            self._note_away()
        waiting = Quarantine(self._folders.state.quarantine).count()
        status = self._totals.exit_status(self._trouble, waiting=waiting)
        after_s = self._monotonic() - self._began_at
        self._reporter.sum_up(self._chain, self._totals, status, after_s)
        return status.exit_code

    def _timeout_s(self) -> float | None:
        now = self._monotonic()
        times = [self._machine.next_at, self._requests.next_at, self._processes.look_at]
        times += [self._chain_checks.next_at, *(process.next_at for process in self._http)]
        if self._machine.awaiting_end:
            times.append(now + IDLE_CHECK_S)
        if self._machine.awaiting_correction:
            times.append(self._corrected_files.next_at)
        if self._notifier.watchdog_interval_s is not None:
            times.append(now + self._notifier.watchdog_interval_s)
        next_at = min((time for time in times if time is not None), default=None)
        return None if next_at is None else max(0.0, next_at - now)

    # Events.

    def _take_notifications(self) -> None:
        for event in self._processes.notifications():
            self._parameters.hear(event)
            if not isinstance(event, ev.ParametersTaken):
                self._handle(event)

    def _take_signals(self, numbers: socket.socket) -> None:
        for number in numbers.recv(64):
            if number in STOP_SIGNALS:
                # A terminal that closes sends two SIGHUP; the second does not mean: stop now.
                if number != signal.SIGHUP or not self._machine.replicas.stopping:
                    self._handle(ev.StopRequested(signal.Signals(number).name))
            elif number != signal.SIGCHLD:
                self._reporter.say(say_ignored(number))

    def _take_end(self, name: ReplicaName) -> None:
        replica = self._machine.replicas[name]
        ended, page = self._processes.take_end(name, hung=replica.hung, too_large=replica.too_large)
        self._totals.note(name, page)
        self._reporter.note_counts(name, page, self._monotonic(), last=True)
        self._reporter.pass_on_rest(name, ended.evidence.said)
        self._handle(ended)
        self._parameters.hear(ended)

    def _look_out(self) -> Iterator[ev.Event]:
        """Yield events of which nobody tells, and pass on what the stages count and print."""
        now, look_at = self._monotonic(), self._processes.look_at
        if look_at is not None and now >= look_at:
            yield from self._processes.look(now)
            for name, page in self._processes.pages:
                self._reporter.note_counts(name, page, now)
            self._reporter.pass_on(self._processes, now)
        for name in self._machine.awaiting_end:
            if (since := self._processes.idle_since(name)) is not None:
                yield ev.Idle(name, since)
        awaited = self._machine.awaiting_correction
        for name, file in self._corrected_files.look(awaited, self._monotonic()):
            yield ev.Corrected(name, file)
        if not self._lock.is_in_place:
            yield ev.FolderRemoved(str(self._folders.run.path))
        if is_due(self._machine.next_at, self._monotonic()):
            yield ev.Tick()

    def _note_away(self) -> None:
        away = self._machine.replicas.dispensable
        if away != self._away and write_away(self._folders.run, away):
            self._away = away

    # Actions.

    def _handle(self, event: ev.Event) -> None:
        self._events.append(event)
        if len(self._events) > 1:
            return  # called by an action of an earlier event: this one waits for its turn
        while self._events:
            for action in self._machine.handle(self._events[0], self._monotonic()):
                self._carry_out(action)
            self._events.popleft()

    def _carry_out(self, action: act.Action) -> None:
        match action:
            case act.Spawn(name):
                self._corrected_files.note(name)
                self._reporter.follow(name)
                spawned = self._processes.spawn(name, self._monotonic())
                if isinstance(spawned, ev.ProcessStarted):
                    self._reporter.note_start(spawned)
                self._handle(spawned)
            case act.Signal(name, number):
                self._processes.send(name, number)
            case act.UseVersion(chain):
                self._use(chain)
            case act.Finish(exit_code, reasons):
                self._trouble = ExitStatus(exit_code, reasons)
            case _:
                if isinstance(action, act.ChainBecameReady):
                    self._notifier.ready(f"{len(self._chain.replicas)} processes ready")
                elif isinstance(action, act.Draining):
                    self._notifier.stopping()
                self._reporter.announce(action)

    def _use(self, chain: Chain) -> None:
        """Go on with another version of the chain file."""
        self._parameters.use(chain)
        self._chain = chain
        self._hook.use(chain.supervision.on_event)
        for user in (self._spawner, self._processes, self._corrected_files):
            user.use(chain)
        try:
            self._folders.run.accept_version(chain.text)
        except ArroyoError as error:  # commands still show the version before
            self._reporter.say(f"warning: {error}")
