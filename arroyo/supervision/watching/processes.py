"""The processes of a chain: spawned with `multiprocess`, watched and signalled by pidfd.

A pidfd tells of a death at once, even where the dead process's own children hold on to its pipes,
and a signal through it can't hit another process that has got the same number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from multiprocess import context, popen_spawn_posix, util
from multiprocess.process import _children

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from .child import SAFE_PATH_MARK

Target = Callable[[str, str, str, str, int], None]
"""A module-level function that is a stage's process: chain file, replica's name, run directory,
state directory, and the descriptor that becomes readable when the supervisor dies."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Popen(popen_spawn_posix.Popen):  # type: ignore[misc]  # it has no types
    """Starts a fresh interpreter with plain words as arguments, and nothing pickled.

    So the new process need load neither `multiprocess` nor what that pickles with, which takes
    as long as all the rest of a small stage's start. It inherits one end of a pipe, which tells
    it of our death; its own death we see by its pidfd.
    """

    def _launch(self, process: _Process) -> None:
        target, words = process.words
        lifeline, self.sentinel = os.pipe()
        code = f"from {target.__module__} import {target.__name__} as main; import sys; "
        code += "a = sys.argv; main(*a[1:5], int(a[5]))"
        flags = util._args_from_interpreter_flags()
        command = [sys.executable, *flags, "-c", code, *words, str(lifeline)]
        try:
            self.pid = util.spawnv_passfds(os.fsencode(sys.executable), command, [lifeline])
        finally:
            os.close(lifeline)
            self.finalizer = util.Finalize(self, os.close, (self.sentinel,))


class _Process(context.SpawnProcess):  # type: ignore[misc]
    """A process of `multiprocess` that is started by `_Popen`."""

    _Popen = staticmethod(_Popen)

    def __init__(self, target: Target, words: tuple[str, ...], name: str) -> None:
        super().__init__(name=name)
        self.words = target, words


class Exit(NamedTuple):
    """How a process has ended."""

    status: int
    """Exit code, or minus the signal that killed it."""
    dumped_core: bool = False


class StageProcess:
    """A running replica. It leads its own session, whose id is its pid."""

    def __init__(self, process: _Process, pidfd: int) -> None:
        self.pid: int = process.pid
        self._process = process
        self._pidfd = pidfd

    def fileno(self) -> int:
        """Descriptor that is readable once the process has ended."""
        return self._pidfd

    def send(self, number: int) -> None:
        """Send a signal; a process that is gone already is none the worse."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def reap(self) -> Exit:
        """Take the exit status of the ended process, and end what it left in its group."""
        # Before the status is taken: until then nobody else can have got this number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        status: int = self._process.exitcode
        self._process.close()
        os.close(self._pidfd)
        return Exit(status, end is not None and end.si_code == os.CLD_DUMPED)


class Spawner:
    """Starts replicas of one chain.

    Parameters
    ----------
    chain
        Which chain; its file's path is what a process gets.
    folders
        Those of the chain; their paths are handed on, so that all agree.
    environ
        What every stage finds in its environment on top of the supervisor's own.
    target
        Function that is a stage's process.
    """

    def __init__(
        self, chain: Chain, folders: Folders, environ: Mapping[str, str], target: Target
    ) -> None:
        self._chain = chain
        self._folders = str(folders.run.path), str(folders.state.path)
        self._environ = {"PYTHONSAFEPATH": SAFE_PATH_MARK, **environ}
        if os.environ.get("PYTHONSAFEPATH"):
            del self._environ["PYTHONSAFEPATH"]
        self._target = target

    def spawn(self, name: ReplicaName) -> StageProcess:
        """Start the process of a replica.

        Raises
        ------
        OSError
            No process, memory or descriptors are to be had, or nice or cpus are not allowed.
        """
        stage = self._chain.stages[name.stage]
        words = str(self._chain.path), str(name), *self._folders
        process = _Process(self._target, words, str(name))
        threads = dict.fromkeys(_THREAD_COUNTS, str(len(stage.cpus))) if stage.cpus else {}
        environ = {**threads, **self._chain.env, **stage.env, **self._environ}
        with (
            _environment(environ),
            _child_signals(),
            _processors(stage.cpus),
        ):
            process.start()
        # `multiprocess` would reap it in passing, and wait for it at our exit.
        _children.discard(process)
        try:
            if stage.nice:
                os.setpriority(os.PRIO_PROCESS, process.pid, stage.nice)
            return StageProcess(process, os.pidfd_open(process.pid))
        except OSError:
            process.kill()
            process.join()
            process.close()
            raise


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have `values` in os.environ: that is what a new process inherits."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextlib.contextmanager
def _child_signals() -> Iterator[None]:
    """Block SIGINT for the new process, until it has left this session (see `child.detach`)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _processors(cpus: tuple[int, ...]) -> Iterator[None]:
    """Run on `cpus`: a new process inherits that from its first instruction on."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
