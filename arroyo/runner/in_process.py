"""`run`: a whole chain in this one process, for notebooks, tests and debuggers.

Each listener has its thread, which puts messages into a queue as long as its window; one more
thread (the caller's) takes them out and carries each through the chain. Nothing is restarted, and
each stage is there once, whatever its `replicas`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from arroyo.clock import SystemClock
from arroyo.codec import MessageCodec
from arroyo.config.graph import Chain, Stage
from arroyo.config.reader import load_chain
from arroyo.control.meeting import find_folders
from arroyo.control.quarantine import Quarantine
from arroyo.errors import ArroyoError, StageError
from arroyo.identifiers import ReplicaName, new_epoch, new_run
from arroyo.stages import Awaiter

from .calls import PublisherCall
from .chunks import Counts
from .fold_call import operator_call
from .gateway import Gateway
from .isolation import Isolation
from .listening import Listening
from .loading import build_listener, build_operator, build_publisher, load_message_types
from .methods import call_if_there
from .routing import Call, Router, SourceRoute, edges_of
from .stop_signals import StopNowError
from .trials import in_words, require_users_own

FLUSH_S = 0.1


def run(chain: Chain | str | Path) -> None:
    """Run a chain in this process until its listeners have ended, or Ctrl-C (SIGINT or SIGTERM).

    The first one stops the listeners, and what they handed over goes through; the second one
    stops the chain now.

    Parameters
    ----------
    chain
        A chain file, or a chain that was read before.

    Raises
    ------
    ConfigurationError
        The chain file or a stage's options are wrong.
    ArroyoError
        A stage failed; what was handed over before has gone through.
    KeyboardInterrupt
        There was a second signal.
    """
    if not isinstance(chain, Chain):
        chain = load_chain(chain)
    quarantine = Quarantine(find_folders(chain.name, os.environ).state.quarantine)
    with _folder_and_environment(chain):
        _InProcessChain(chain, quarantine).run()


class _InProcessChain:
    def __init__(self, chain: Chain, quarantine: Quarantine) -> None:
        self._chain = chain
        self._quarantine = quarantine
        self._codec = MessageCodec(load_message_types(chain))
        self._something = threading.Event()
        self._calls: dict[str, Call] = {}
        self._sources: list[_Source] = []

    def run(self) -> None:
        with contextlib.ExitStack() as cleanup:
            for level in reversed(self._chain.levels):
                for stage in level:
                    self._open(stage, cleanup)
            router = Router(self._calls, self._codec, edges_of(self._chain))
            with _stop_signals() as asked:
                for source in self._sources:
                    source.start(router, asked)
                self._work()
        errors = [source.listening.error for source in self._sources if source.listening]
        for error in filter(None, errors):
            raise error

    def _open(self, stage: Stage, cleanup: contextlib.ExitStack) -> None:
        if stage.role == "listener":
            source = _Source(self._chain, stage, self._codec, self._something)
            self._sources.append(source)
            cleanup.callback(source.close)
            return
        maker: Any = build_operator if stage.role == "operator" else build_publisher
        made = maker(self._chain, stage)
        name = ReplicaName(stage.name, 0)
        isolation = Isolation(self._quarantine, self._chain, name, self._codec, SystemClock())
        call: Call
        if stage.role == "operator":
            call = operator_call(stage, made, self._codec, None, isolation)
        else:
            call = PublisherCall(stage, made, isolation)
        self._calls[stage.name] = call
        _open(made, call.open)
        cleanup.callback(call.close)

    def _work(self) -> None:
        while any([source.carry() for source in self._sources]):
            self._something.wait(FLUSH_S)
            self._something.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        for call in self._calls.values():
            if isinstance(call, PublisherCall):
                call.flush()


class _Source:
    """One listener with its thread and queue."""

    def __init__(
        self, chain: Chain, stage: Stage, codec: MessageCodec, something: threading.Event
    ) -> None:
        self._name = ReplicaName(stage.name, 0)
        self._something = something
        self._gateway = Gateway(stage, codec, None, something.set, Counts([0], [0], [0]))
        self._listener = build_listener(chain, stage, self._gateway)
        self.listening: Listening | None = None
        self._awaiter = Awaiter()
        _open(self._listener, lambda: call_if_there(self._listener, "open", self._awaiter))

    def start(self, router: Router, stop_asked: Callable[[], bool]) -> None:
        self._stop_asked = stop_asked
        self._route = SourceRoute(
            self._name, new_epoch(), router, new_run, self._gateway.runs.early_stop
        )
        self.listening = Listening(self._listener, self._awaiter, self._something.set)

    def carry(self) -> bool:
        """Carry all that waits through the chain; False once nothing more will come."""
        assert self.listening is not None
        ended = self.listening.ended
        self._stop_if_asked()
        while (intake := self._gateway.take()) is not None:
            self._stop_if_asked()
            self._route.take(intake)
            self._gateway.release(max(1, len(intake.items)), intake.size)
            self.listening.acknowledge(intake.tokens)
        if not ended:
            return self._gateway.fall_asleep() or True
        self._route.close("the source ended in mid-run")
        return False

    def _stop_if_asked(self) -> None:
        if self.listening is not None and self._stop_asked():
            self.listening.stop()

    def close(self) -> None:
        self._gateway.shut()
        if self.listening is not None:
            self.listening.stop()
            self.listening.join()
        call_if_there(self._listener, "close", self._awaiter)
        self._awaiter.close()


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether a signal has asked to stop; the second ends in KeyboardInterrupt.

    The first only asks: in the midst of a message an exception would take that along, and all
    that came with it. Signals are the main thread's; in another one nothing asks.
    """
    count = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise StopNowError

    numbers = (signal.SIGINT, signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handle) for number in numbers if is_main}
    try:
        yield lambda: count > 0
    except StopNowError:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            # None: it was set by other than Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _open(stage: object, call_open: Callable[[], None]) -> None:
    try:
        call_open()
    except ArroyoError:
        raise
    except BaseException as error:
        require_users_own(error)
        raise StageError(f"{type(stage).__name__}.open() raised {in_words(error)}") from error


@contextlib.contextmanager
def _folder_and_environment(chain: Chain) -> Iterator[None]:
    """Be where the stages' processes would be, and leave no trace of it."""
    folder, environ = Path.cwd(), dict(os.environ)
    os.chdir(chain.folder)
    os.environ.update(chain.env)
    for stage in chain.stages.values():
        os.environ.update(stage.env)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
