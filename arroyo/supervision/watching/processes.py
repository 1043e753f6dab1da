"""The processes of a chain: forked or spawned, watched and signalled by pidfd.

A pidfd tells of a death at once, even where the dead process's own children hold on to its pipes,
and a signal through it can't hit another process that has got the same number.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from .child import ACCEPTED_COPY, SAFE_PATH_MARK
from .fork_server import START_S, ForkServer
from .fork_server_main import GO
from .orphans import adopts_orphans
from .spawning import Child, Target, Words, spawn

SERVERS = 5
"""More fork servers than so many are not started for one chain; then its stages are spawned."""


class Exit(NamedTuple):
    """How a process has ended."""

    status: int
    """Exit code, or minus the signal that killed it."""
    dumped_core: bool = False


class StageProcess:
    """A running replica. It leads its own session, whose id is its pid.

    OSError: there is no descriptor to be had for it.
    """

    def __init__(self, child: Child) -> None:
        self.pid = child.pid
        self._lifeline = child.lifeline
        self._pidfd = os.pidfd_open(child.pid)

    def fileno(self) -> int:
        """Descriptor that is readable once the process has ended."""
        return self._pidfd

    def begin(self) -> None:
        """Let a forked stage begin; if it has died meanwhile, its end is told as any other."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, GO)

    def send(self, number: int) -> None:
        """Send a signal; a process that is gone already is none the worse."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def reap(self) -> Exit:
        """Take the exit status of the ended process, and end what it left in its group."""
        # Before the status is taken: until then nobody else can have got this number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        os.close(self._lifeline)
        assert end is not None
        killed = end.si_code != os.CLD_EXITED
        return Exit(-end.si_status if killed else end.si_status, end.si_code == os.CLD_DUMPED)


class Spawner:
    """Starts replicas of one chain.

    Where this process adopts orphans, which a stage is that was forked, most are forked by a server
    that has imported already what they need. A stage of which the environment says something that
    an interpreter looks at when it starts gets one of its own, and so do all while there is no
    server: one that has died is replaced, but nobody waits for it.

    `folders`: those of the chain; their paths are handed on, so that all agree.
    `environ`: what every stage finds in its environment on top of the supervisor's own.
    """

    def __init__(
        self, chain: Chain, folders: Folders, environ: Mapping[str, str], target: Target
    ) -> None:
        self._chain = chain
        self._run_directory = folders.run
        self._folders = str(folders.run.path), str(folders.state.path)
        self._environ = {"PYTHONSAFEPATH": SAFE_PATH_MARK, **environ}
        if os.environ.get("PYTHONSAFEPATH"):
            del self._environ["PYTHONSAFEPATH"]
        self._target = target
        self._server: ForkServer | None = None
        self._servers_left = SERVERS
        self._patience_s = START_S
        """So long the next stage waits for the fork server: at the start it is worth it."""
        if adopts_orphans():
            self._start_server()

    def close(self) -> None:
        """Let the fork server end."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def use(self, chain: Chain) -> None:
        """Start processes with this version of the chain from now on."""
        self._chain = chain

    def spawn(self, name: ReplicaName) -> StageProcess:
        """Start the process of a replica.

        OSError: no process, memory or descriptors are to be had.
        """
        stage = self._chain.stages[name.stage]
        words = self._words(str(name))
        environ = {**os.environ, **self._chain.environ(stage), **self._environ}
        if self._chain.text:
            environ[ACCEPTED_COPY] = str(self._run_directory.version(self._chain.text))
        child = self._fork(words, environ)
        if child is not None:
            process = _take_care(child)
            process.begin()
            return process
        return _take_care(_spawn(self._target, words, environ))

    def spawn_beside(self, target: Target, name: str) -> StageProcess:
        """Start a process that is none of the chain's replicas, in an interpreter of its own.

        OSError: no process, memory or descriptors are to be had.
        """
        return _take_care(_spawn(target, self._words(name), self._environ))

    def _words(self, name: str) -> Words:
        return str(self._chain.path), name, *self._folders

    def _fork(self, words: Words, environ: Mapping[str, str]) -> Child | None:
        """Have a stage forked; None where that can't be, or there is no server yet."""
        server, patience_s = self._server, self._patience_s
        if server is None or not server.suits(environ):
            return None
        self._patience_s = 0.0
        child = server.fork(self._target, words, environ) if server.wait(patience_s) else None
        if child is None and server.ended:
            server.close()
            self._start_server()
        return child

    def _start_server(self) -> None:
        """Start a fork server, as long as that has not failed again and again."""
        self._server = None
        if self._servers_left:
            self._servers_left -= 1
            environ = {**os.environ, **self._chain.env, **self._environ}
            with contextlib.suppress(OSError):  # the next stage is spawned, and says why
                self._server = ForkServer(self._words("fork-server"), environ)


def _spawn(target: Target, words: Words, environ: Mapping[str, str]) -> Child:
    lifeline, ours = os.pipe()
    with contextlib.closing(os.fdopen(lifeline)):
        try:
            return Child(spawn(target, words, environ, lifeline), ours)
        except OSError:
            os.close(ours)
            raise


def _take_care(child: Child) -> StageProcess:
    try:
        return StageProcess(child)
    except OSError:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        os.close(child.lifeline)
        raise
