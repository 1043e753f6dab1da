"""`ForkServer`: has stages forked by a process that has imported already what they need.

A fresh interpreter takes a tenth of a second and more to import numpy, zmq and all of this; a fork
takes a few milliseconds. The server's side is in `fork_server_main`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping

import msgspec

from .fork_server_main import ANSWER_BYTES, READY, TITLE_ROOM, ForkRequest, main
from .spawning import Child, Target, Words, spawn

START_S = 10.0
"""So long the first stage waits for the server's imports."""
ANSWER_S = 2.0
"""A server that does not answer in this time is given up."""
_AT_START = (
    "PYTHON",
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "OMP_",
    "OPENBLAS_",
    "GOTO_",
    "MKL_",
    "KMP_",
    "BLIS_",
    "NUMEXPR_",
    "VECLIB_",
    "NPY_",
    "NUMPY_",
)
"""Variables of these names are looked at when an interpreter starts or a library is loaded."""


class ForkServer:
    """A running fork server.

    Parameters
    ----------
    words
        What the command of a stage says behind its code, as an example.
    environ
        The environment of the server; a stage whose environment differs in what is looked at when
        an interpreter starts can't be forked, see `suits`.

    Raises
    ------
    OSError
        No process, memory or descriptors are to be had.
    """

    def __init__(self, words: Words, environ: Mapping[str, str]) -> None:
        self._at_start = _looked_at(environ)
        self.ended = self._ready = False
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with other:
                self.pid = spawn(main, words, environ, other.fileno(), TITLE_ROOM)
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._channel.close()
            raise

    def suits(self, environ: Mapping[str, str]) -> bool:
        """Whether a stage with this environment may be forked."""
        return _looked_at(environ) == self._at_start

    def wait(self, timeout_s: float) -> bool:
        """Wait until the server is ready; False where it is not."""
        if not self._ready and not self.ended:
            self._ready = self._receive(timeout_s) == READY
        return self._ready

    def fork(self, target: Target, words: Words, environ: Mapping[str, str]) -> Child | None:
        """Fork a stage, which waits for its `StageProcess.begin`; None where the server has ended.

        OSError: no process or descriptors are to be had.
        """
        request = _request(target, words, environ)
        lifeline, ours = os.pipe()
        try:
            self._channel.settimeout(ANSWER_S)
            socket.send_fds(self._channel, [msgspec.msgpack.encode(request)], [lifeline])
            answer = self._receive(ANSWER_S)
        except OSError:
            answer = b""
        finally:
            os.close(lifeline)
        if answer.isdigit():
            return Child(int(answer), ours)
        os.close(ours)
        if answer:
            raise OSError(0, answer.decode())
        # An answer that came late would be taken for that to the next request.
        self.ended = True
        return None

    def _receive(self, timeout_s: float) -> bytes:
        """Return what the server says, nothing where it does not come in time."""
        self._channel.settimeout(timeout_s)
        try:
            packet = self._channel.recv(ANSWER_BYTES)
        except (TimeoutError, BlockingIOError):
            return b""
        except OSError:
            packet = b""
        self.ended = not packet
        return packet

    def close(self) -> None:
        """End the server: it holds nothing, and a stage that has not begun ends of itself."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # reaped as an orphan
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)


def _request(target: Target, words: Words, environ: Mapping[str, str]) -> ForkRequest:
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
    return ForkRequest(
        target.__module__, target.__name__, tuple(map(os.fsencode, words)), variables
    )


def _looked_at(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key.startswith(_AT_START)}
