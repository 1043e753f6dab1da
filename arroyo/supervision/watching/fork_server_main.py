"""The fork server's process: it has imported what every stage needs, and forks a stage in no time.

Rules:
- It has one thread, no lock and no socket but the one to the supervisor, and never imports users'
  code: so whatever a fork copies is whole, and the same for all.
- A stage is the supervisor's child, as a spawned one is: it is forked by a process that ends at
  once, and comes to the supervisor, which adopts orphans.
- A stage begins when the supervisor says so, which has its pid by then. One that it never hears of,
  as one of the two died in between, sees the end of its lifeline and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import msgspec

READY = b"ready"
GO = b"g"
TITLE_ROOM = 256
"""Blanks in the server's command, so that there is room for what a stage's command says."""
ANSWER_BYTES = 256
REQUEST_BYTES = 4 * 2**20
_ARG_START = 45
"""Place of the field in /proc/self/stat, counted from behind the name."""


class ForkRequest(msgspec.Struct):
    """A stage that is to be forked; its lifeline comes with it.

    Paths and variables are bytes, as the kernel has them: they need not be UTF-8.
    """

    module: str
    function: str
    words: tuple[bytes, ...]
    environ: dict[bytes, bytes]


def main(chain_path: str, name: str, run_path: str, state_path: str, channel: int) -> None:
    """Fork what the supervisor asks for, until it closes the channel; or be one of these."""
    os.setsid()
    with socket.socket(fileno=channel) as connection:
        connection.set_inheritable(False)
        _import_what_stages_need()
        gc.collect()
        gc.freeze()  # the collector would write into pages that all stages share
        stage = _serve(connection)
    # From here on nothing of the server is below the stage in its stack.
    if stage is not None:
        _become(*stage)


def _serve(connection: socket.socket) -> tuple[ForkRequest, int] | None:
    """Fork what is asked for; return what this process is to be, in a stage.

    None where the supervisor has gone.
    """
    try:
        connection.send(READY)
        while (asked := _receive(connection)) is not None:
            if _fork(*asked, connection):
                return asked
    except ConnectionError:
        pass  # it has gone without having read all that it was told
    return None


def _receive(connection: socket.socket) -> tuple[ForkRequest, int] | None:
    """Return what is asked for, with the lifeline; None where the supervisor has gone."""
    packet, lifelines, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 1)
    if not packet or not lifelines:
        return None
    return msgspec.msgpack.decode(packet, type=ForkRequest), lifelines[0]


def _import_what_stages_need() -> None:
    from arroyo.runner.process.stage_process import import_all

    import_all()
    # Nearly every stage has arrays, and no other import takes so long.
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy")


def _fork(request: ForkRequest, lifeline: int, connection: socket.socket) -> bool:
    """Fork a stage that is not our child, and say what its pid is; True in the stage."""
    told, tell = os.pipe()
    try:
        parent = os.fork()
    except OSError as error:
        os.close(tell)
        answer = str(error.strerror).encode()
    else:
        if parent == 0:
            os.close(told)
            return _fork_again(tell)
        os.close(tell)
        os.waitpid(parent, 0)
        answer = os.read(told, ANSWER_BYTES)
    os.close(told)
    os.close(lifeline)
    connection.send(answer)
    return False


def _fork_again(tell: int) -> bool:
    """Fork the stage and end; True in the stage."""
    try:
        child = os.fork()
    except OSError as error:
        answer = str(error.strerror)
    else:
        if child == 0:
            os.close(tell)
            return True
        answer = str(child)
    with contextlib.suppress(OSError):  # the server may have been killed meanwhile
        os.write(tell, answer.encode())
    os._exit(0)


def _become(request: ForkRequest, lifeline: int) -> NoReturn:
    """Be the stage's process from here on, once the supervisor knows of it."""
    code = 1
    try:
        if os.read(lifeline, 1) == GO:
            os.environ.clear()
            os.environb.update(request.environ)
            _set_title((*request.words, b"%d" % lifeline))
            _draw_new_seeds()
            gc.unfreeze()
            target = getattr(importlib.import_module(request.module), request.function)
            target(*map(os.fsdecode, request.words), lifeline)
            code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (as the interpreter does at the end of a process)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _draw_new_seeds() -> None:
    """Make random numbers differ from those of the other stages; `random` sees to itself."""
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()


def _set_title(words: tuple[bytes, ...]) -> None:
    """Have `ps` show the words at the end of the command, as it does for a spawned stage."""
    fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    head = "\0".join((sys.executable, "-c", f"# {__package__}.child, forked")).encode()
    tail = b"".join(b"\0" + word for word in words) + b"\0"
    if end - start >= len(head) + len(tail):
        ctypes.memmove(start, head.ljust(end - start - len(tail)) + tail, end - start)
