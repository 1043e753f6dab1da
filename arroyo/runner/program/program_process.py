"""`ProgramProcess`: a replica that is a foreign program.

The process of the replica starts the program and stays with it, so a program is to everybody what
other stages are: it has the replica's lock, log and status page, says READY=1, ends in order at
SIGTERM, and notices the death of its supervisor, which the program itself need know nothing of.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, without_programs
from arroyo.control.locks import owner
from arroyo.control.notify import Notifier
from arroyo.control.ports_in_use import read_ports_in_use
from arroyo.errors import ConfigurationError, ProgramError, UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import History
from arroyo.runner.process.stop_signals import StopSignals
from arroyo.runner.process.supervisor_watch import ORPHAN_EXIT_S, SupervisorWatch
from arroyo.telemetry.output import output_file
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase

from .launching import find_program, launch
from .readiness import LogReadiness, NotifyReadiness, PortReadiness, Readiness

LOOK_S = 0.1
"""How often is looked whether the program is ready, until it is."""
ORPHAN_PATIENCE_S = ORPHAN_EXIT_S / 2
"""How long a program whose supervisor has died stays for stages that still drain, at most."""
_TOLD_TO_END = frozenset(
    {0, *(code for number in (signal.SIGTERM, signal.SIGINT) for code in (-number, 128 + number))}
)
"""How programs end that obey. Shells and Java add 128; by hand a Ctrl-C reaches them as well."""
_log = logging.getLogger(__name__)


class ProgramProcess:
    """Runs the program of one replica; a context manager, which ends the program at its end.

    `lifeline`: descriptor that tells of the supervisor's death; None where there is no supervisor.

    ConfigurationError: there is no such program.
    UnavailableError: another program has its port.
    """

    def __init__(
        self,
        chain: Chain,
        name: ReplicaName,
        folders: Folders,
        notifier: Notifier,
        lifeline: int | None,
        *,
        history: History,
    ) -> None:
        self._stage = chain.stages[name.stage]
        self._program = self._stage.command[0]
        self._notifier = notifier
        self._lifeline = lifeline
        self._history = history
        self._output = output_file(folders.run.log(name))
        self._notify_path = folders.run.socket("s", name)
        self._stages = [folders.run.lock(each) for each in without_programs(chain).replicas]
        self._orphaned_at: float | None = None
        self._was_ready = False
        self._phase = Phase.STARTING
        port = self._stage.ready.port
        if not find_program(self._program, chain.folder, os.environ):
            raise ConfigurationError(
                f"stages.{name.stage}.command: there is no program {self._program!r} that may be "
                "run"
            )
        if port is not None and port in read_ports_in_use():
            raise UnavailableError(f"port {port} is in use by another program; end that first")
        self._page = StatusPage(folders.run.status_page(name), os.getpid(), time.time_ns())

    def run(self) -> None:
        """Start the program, and return when it has ended in order.

        ProgramError: it has ended otherwise.
        StopNowError: there was a second stop signal; it was killed.
        """
        with contextlib.ExitStack() as opened:
            opened.callback(self._page.close)
            wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opened.callback(os.close, wake)
            signals = StopSignals(lambda: os.eventfd_write(wake, 1))
            opened.callback(signals.ignore)
            readiness = opened.enter_context(contextlib.closing(self._readiness()))
            self._start(readiness)
            opened.callback(self._end)
            watch = SupervisorWatch(
                self._lifeline, self._notifier, signals.note_orphaned, self._abandoned
            )
            opened.callback(watch.close)
            self._stay(signals, readiness, wake)
            self._judge(told=signals.asked)

    def _start(self, readiness: Readiness) -> None:
        with contextlib.ExitStack() as opened:
            output = None
            if self._stage.ready.log:  # in the journal it could not be read
                flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
                output = os.open(self._output, flags)
                opened.callback(os.close, output)
            environ = {**os.environ, **readiness.environ}
            self._process = launch(self._stage.command, environ, output)
        self._page.set("program", self._process.pid)
        self._enter(Phase.OPEN)
        self._history.note("runs {} as {}", self._program, self._process.pid)
        _log.info("%s runs as pid %d", self._program, self._process.pid)

    def _readiness(self) -> Readiness:
        ready = self._stage.ready
        if ready.port is not None:
            return PortReadiness(ready.port)
        if ready.log:
            return LogReadiness(ready.log, self._output)
        return NotifyReadiness(self._notify_path) if ready.notify else Readiness()

    def _stay(self, signals: StopSignals, readiness: Readiness, wake: int) -> None:
        """Wait until the program has ended; tell when it is ready, and tell it to end."""
        poller = select.poll()
        pidfd = os.pidfd_open(self._process.pid)
        try:
            for descriptor in (pidfd, wake, readiness.descriptor):
                if descriptor is not None:
                    poller.register(descriptor, select.POLLIN)
            while self._process.poll() is None:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(wake)  # before `signals` is looked at: a later one wakes again
                if readiness.look() and self._phase is Phase.OPEN:
                    self._report_ready()
                if self._phase is not Phase.DRAIN and self._should_end(signals):
                    self._report_stopping()
                    self._process.terminate()
                at_rest = self._phase is Phase.IDLE and not signals.asked
                poller.poll(None if at_rest or self._phase is Phase.DRAIN else LOOK_S * 1000)
        finally:
            os.close(pidfd)

    def _should_end(self, signals: StopSignals) -> bool:
        """Return True once the program is to be told to end.

        Stages that drain because the supervisor has died may still need it.
        """
        if not signals.orphaned:
            return signals.asked
        self._orphaned_at = self._orphaned_at or time.monotonic()
        is_late = time.monotonic() >= self._orphaned_at + ORPHAN_PATIENCE_S
        return is_late or not any(owner(lock) for lock in self._stages)

    def _report_ready(self) -> None:
        self._was_ready = True
        self._enter(Phase.IDLE)
        self._page.set("ready_since_ns", time.monotonic_ns())
        self._history.note("ready")
        self._notifier.ready(f"{self._program} is ready")
        _log.info("ready")

    def _report_stopping(self) -> None:
        self._enter(Phase.DRAIN)
        self._history.note("ends")
        self._notifier.stopping()
        _log.info("ending %s", self._program)

    def _judge(self, *, told: bool) -> None:
        """Raise ProgramError unless the program has ended in order."""
        code = self._process.returncode
        how = f"exited with {code}"
        if code < 0:
            how = f"was killed by a signal ({signal.strsignal(-code)})"
        if told:
            if code not in _TOLD_TO_END:
                raise ProgramError(f"{self._program} {how} when it was told to end")
        elif not self._was_ready:
            advice = "; a stage's program must stay in the foreground" if code == 0 else ""
            raise ProgramError(f"{self._program} {how} before it was ready{advice}")
        elif code:
            raise ProgramError(f"{self._program} {how}")
        else:
            self._report_stopping()
        self._enter(Phase.ENDED)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._page.enter(phase, time.monotonic_ns())

    def _end(self) -> None:
        """Kill the program where it still runs: after a second stop signal."""
        self._process.kill()
        self._process.wait()

    def _abandoned(self) -> None:
        _log.error("it did not end within %g s of the supervisor's death; killed", ORPHAN_EXIT_S)
        os.killpg(0, signal.SIGKILL)  # with all that the program has started, and with us
