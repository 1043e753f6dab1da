"""What can be known to be wrong with a chain before it starts.

Nothing is started, and no class of users is constructed. Users' modules are imported, since only
they know their classes; the supervisor, which must not, has that done by a short-lived child.
Run as a module it is that child: ``python -m arroyo.runner.user_code.checking CHAIN PARENT``
prints a JSON list, and ends when its parent does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from arroyo.config.addresses import Listen
from arroyo.config.graph import Chain, Stage
from arroyo.config.reader import survey_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import owner
from arroyo.control.meeting import find_folders
from arroyo.errors import ConfigurationError

from .loading import check_options, load_factory, load_message_types
from .preflight import Preflight

_CHILD_TIMEOUT_S = 120.0
"""Imports over a slow network file system take their time."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when its parent dies."""


def check_chain(path: str | Path, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Find all mistakes of a chain, one sentence each, in the order of its file.

    Imports the users' modules into this process.
    """
    try:
        chain, problems, places = survey_chain(path, environ)
    except ConfigurationError as error:
        return list(error.problems)
    with contextlib.chdir(chain.folder):  # as in the stages, for modules that look for files
        problems += _class_problems(chain, environ)
    problems += _machine_problems(chain, environ)
    return [places.locate(problem) for problem in places.sort(problems)]


def check_in_child(path: str | Path) -> list[str]:
    """Do as `check_chain` in a child process, which may print, crash or hang as it likes."""
    command = [
        sys.executable,
        "-m",
        "arroyo.runner.user_code.checking",
        str(path),
        str(os.getpid()),
    ]
    try:
        child = subprocess.run(  # noqa: S603  (our own module; the path is one argument)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHILD_TIMEOUT_S,
            # No module of the current folder can stand in for a standard one.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [
            f"{path}: importing the modules of this chain took longer than "
            f"{_CHILD_TIMEOUT_S:.0f} s; a module should only define things when imported"
        ]
    try:
        return msgspec.json.decode(child.stdout, type=list[str])
    except msgspec.DecodeError:
        return [f"{path}: importing the modules of this chain {_describe_end(child)}"]


def _describe_end(child: subprocess.CompletedProcess[bytes]) -> str:
    words = child.stderr.decode(errors="replace").strip().splitlines()
    last = f"; the last line it printed: {words[-1]}" if words else ""
    if child.returncode < 0:
        return f"ended the process by {signal.Signals(-child.returncode).name}{last}"
    return f"ended the process with exit code {child.returncode}{last}"


def _class_problems(chain: Chain, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        load_message_types(chain)
    except ConfigurationError as error:
        yield from error.problems
    preflight = Preflight(chain, lambda stage: _is_running(chain, stage, environ))
    for stage in chain.stages.values():
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
        yield from _cpu_problems(stage, os.cpu_count() or 1)
    if not chain.name:
        return
    folders = find_folders(chain.name, environ)
    if obstacles := folders.obstacles():
        yield from (f"chain.name: {obstacle}" for obstacle in obstacles)
        return
    ports_in_use = _read_ports_in_use()
    for stage in chain.stages.values():
        yield from _port_problems(stage, ports_in_use, folders.run)


def _cpu_problems(stage: Stage, count: int) -> Iterator[str]:
    for index, cpu in enumerate(stage.cpus):
        if cpu >= count:
            yield (
                f"stages.{stage.name}.cpus[{index}]: there is no processor {cpu}; "
                f"this machine has 0 to {count - 1}"
            )


def _port_problems(stage: Stage, in_use: set[int], run_directory: RunDirectory) -> Iterator[str]:
    if stage.listen is None:
        return
    try:
        listen = Listen.parse(stage.listen, stage.replicas)
    except ValueError:
        return  # found by the rules of wiring
    for name in stage.names:
        ports = in_use.intersection(listen.ports_of(name.replica))
        if ports and owner(run_directory.lock(name)) is None:  # else it runs, and has its own
            taken = " and ".join(map(str, sorted(ports)))
            yield f"stages.{stage.name}.listen: port {taken} is in use by another program"


def _read_ports_in_use() -> set[int]:
    """Ask the kernel's tables which tcp ports are listened on, at any address."""
    ports = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():  # IPv6 can be off
            continue
        for line in table.read_text("ascii").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":  # TCP_LISTEN
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


def _answer(path: str, parent: int) -> None:
    """Print what `check_chain` finds, and let nothing that a module prints get in between."""
    # A module may hang, and nobody else would end this process then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    answer = os.dup(1)
    os.dup2(2, 1)
    problems = check_chain(path)
    os.write(answer, msgspec.json.encode(problems))
    # At once: threads that a module started, or what it has to say at the end, are no matter.
    os._exit(0)


if __name__ == "__main__":
    _answer(sys.argv[1], int(sys.argv[2]))
