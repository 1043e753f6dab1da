"""Finds mistakes of a chain before it starts.

Nothing is started, and no class of users is constructed. Users' modules are imported, since only
they know their classes; the supervisor, which must not, has that done by a short-lived child.
Run as a module it is that child: ``python -m arroyo.runner.user_code.checking CHAIN PARENT``
prints a JSON list, and ends when its parent does; a third argument is a copy of the chain file,
which is read in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

import msgspec

from arroyo.config.graph import Chain, Stage
from arroyo.config.listen import Listen
from arroyo.config.reader import survey_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import owner
from arroyo.control.ports_in_use import read_ports_in_use
from arroyo.control.shared_folders import find_folders
from arroyo.errors import ConfigurationError
from arroyo.runner.process.resources import resource_problems
from arroyo.runner.program.launching import find_program

from .loading import check_options, load_factory, load_message_types
from .preflight import Preflight

TIMEOUT_S = 120.0
"""Imports over a slow network file system take their time."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when its parent dies."""


def check_chain(
    path: str | Path, environ: Mapping[str, str] = os.environ, *, copy: Path | None = None
) -> list[str]:
    """Find all mistakes of a chain, one sentence each, in the order of its file.

    `copy`: as in `load_chain`.

    Imports the users' modules into this process.
    """
    try:
        chain, problems, lines = survey_chain(path, environ, copy=copy)
    except ConfigurationError as error:
        return list(error.problems)
    with contextlib.chdir(chain.folder):  # as in the stages, for modules that look for files
        problems += _class_problems(chain, environ)
    problems += _machine_problems(chain, environ)
    problems += _library_problems(chain)
    problems += _program_problems(chain, environ)
    return [lines.locate(problem) for problem in lines.sort(problems)]


def check_in_child(path: str | Path, copy: Path | None = None) -> list[str]:
    """Do as `check_chain` in a child process, which may print, crash or hang as it likes."""
    with CheckingChild(path, copy=copy) as child:
        child.wait()
        return child.problems()


class CheckingChild:
    """A child process that checks a chain; `copy` as in `load_chain`.

    OSError: no process, memory or descriptors are to be had.
    """

    def __init__(self, path: str | Path, *, copy: Path | None = None) -> None:
        self._path = path
        module = "arroyo.runner.user_code.checking"
        copies = [] if copy is None else [str(copy)]
        with contextlib.ExitStack() as opened:
            # Files rather than pipes, so that the child never waits for a reader.
            self._answer = opened.enter_context(TemporaryFile())
            self._said = opened.enter_context(TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603  (our own module, and paths)
                [sys.executable, "-m", module, str(path), str(os.getpid()), *copies],
                stdin=subprocess.DEVNULL,
                stdout=self._answer,
                stderr=self._said,
                # No module of the current folder can stand in for a standard one.
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
            self._pidfd = os.pidfd_open(self._process.pid)
            opened.callback(os.close, self._pidfd)
            opened.callback(self._process.wait)
            opened.callback(self._process.kill)
            self._opened = opened.pop_all()
        self.pid = self._process.pid
        self._is_late = False

    def __enter__(self) -> CheckingChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Descriptor that is readable once the process has ended."""
        return self._pidfd

    def wait(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait for its end, but no longer than that."""
        ended = select.poll()  # which takes descriptors above 1,023, as large chains have
        ended.register(self, select.POLLIN)
        self._is_late = not ended.poll(1000 * timeout_s)

    def problems(self) -> list[str]:
        """Return what `check_chain` has found, or why nothing is known; after `wait`."""
        if self._is_late:
            return [
                f"{self._path}: importing the modules of this chain took longer than "
                f"{TIMEOUT_S:.0f} s; a module should only define things when imported"
            ]
        code = self._process.wait()
        self._answer.seek(0)
        try:
            return msgspec.json.decode(self._answer.read(), type=list[str])
        except msgspec.DecodeError:
            self._said.seek(0)
            how = _describe_end(code, self._said.read())
            return [f"{self._path}: importing the modules of this chain {how}"]

    def close(self) -> None:
        """End it, if it still runs."""
        self._opened.close()


def _describe_end(code: int, said: bytes) -> str:
    words = said.decode(errors="replace").strip().splitlines()
    last = f"; the last line it printed: {words[-1]}" if words else ""
    if code < 0:
        return f"ended the process by {signal.Signals(-code).name}{last}"
    return f"ended the process with exit code {code}{last}"


def _class_problems(chain: Chain, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        load_message_types(chain)
    except ConfigurationError as error:
        yield from error.problems
    preflight = Preflight(chain, lambda stage: _is_running(chain, stage, environ))
    for stage in chain.stages.values():
        if stage.role == "program":
            continue
        try:
            factory = load_factory(stage, chain)
        except ConfigurationError as error:
            yield from error.problems
            continue
        misfits = check_options(factory, stage)
        yield from misfits or preflight.problems(factory, stage)
        yield from _fold_problems(factory, stage, chain)


def _is_running(chain: Chain, stage: Stage, environ: Mapping[str, str]) -> bool:
    if not chain.name:
        return False
    directory = RunDirectory.locate(chain.name, environ)
    return any(owner(directory.lock(name)) is not None for name in stage.names)


def _fold_problems(factory: object, stage: Stage, chain: Chain) -> Iterator[str]:
    """A fold holds inputs that their source has to keep, so they must fit into its window."""
    if stage.role != "operator" or not getattr(factory, "folds", False):
        return
    place = f"stages.{stage.name}.operator"
    most = getattr(factory, "max_inputs", 0)
    if not isinstance(most, int) or most < 0:
        yield f"{place}: max_inputs of {stage.target} is {most!r}, expected a number from 0 on"
        return
    for source in chain.sources_above(stage.name):
        if most * stage.replicas > source.window:
            yield (
                f"{place}: {stage.target} may hold {most} inputs (max_inputs) in each of "
                f"{stage.replicas} replicas, but the window of {source.name} is {source.window}; "
                f"it would wait for ever: set stages.{source.name}.window to "
                f"{most * stage.replicas} or more, or lower max_inputs"
            )


def _machine_problems(chain: Chain, environ: Mapping[str, str]) -> Iterator[str]:
    for stage in chain.stages.values():
        yield from resource_problems(stage)
    if not chain.name:
        return
    folders = find_folders(chain.name, environ)
    if obstacles := folders.obstacles():
        yield from (f"chain.name: {obstacle}" for obstacle in obstacles)
        return
    ports_in_use = read_ports_in_use()
    for stage in chain.stages.values():
        yield from _port_problems(stage, ports_in_use, folders.run)


def _library_problems(chain: Chain) -> Iterator[str]:
    if chain.supervision.http is not None and find_spec("prometheus_client") is None:
        yield (
            "supervisor.http: this needs prometheus_client, which is not installed: "
            'pip install "arroyo[metrics]"'
        )


def _program_problems(chain: Chain, environ: Mapping[str, str]) -> Iterator[str]:
    """A program that can't be found would be missed when it is needed."""
    named = [
        (f"stages.{stage.name}.command", stage.command[0], {**environ, **chain.env, **stage.env})
        for stage in chain.programs
    ]
    hook = chain.supervision.on_event
    if hook is not None and hook.command:
        named.append(("supervisor.on_event", hook.command[0], dict(environ)))
    for place, program, variables in named:
        if not find_program(program, chain.folder, variables):
            yield f"{place}: there is no program {program!r} that may be run"


def _port_problems(stage: Stage, in_use: set[int], run_directory: RunDirectory) -> Iterator[str]:
    for name in stage.names:
        key, wanted = _ports_of(stage, name.replica)
        ports = in_use.intersection(wanted)
        if ports and owner(run_directory.lock(name)) is None:  # else it runs, and has its own
            taken = " and ".join(map(str, sorted(ports)))
            yield f"stages.{stage.name}.{key}: port {taken} is in use by another program"


def _ports_of(stage: Stage, replica: int) -> tuple[str, Collection[int]]:
    """Return the ports that a replica needs, and the key that says so."""
    if stage.ready.port is not None:
        return "ready", [stage.ready.port]
    try:
        if stage.listen is not None:
            return "listen", Listen.parse(stage.listen, stage.replicas).ports_of(replica)
    except ValueError:
        pass  # found by the rules of wiring
    return "listen", ()


def _answer(path: str, parent: int, copy: Path | None) -> None:
    """Print what `check_chain` finds, and let nothing that a module prints get in between."""
    # A module may hang, and nobody else would end this process then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    answer = os.dup(1)
    os.dup2(2, 1)
    problems = check_chain(path, copy=copy)
    os.write(answer, msgspec.json.encode(problems))
    # At once: threads that a module started, or what it has to say at the end, are no matter.
    os._exit(0)


if __name__ == "__main__":
    _answer(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None)
