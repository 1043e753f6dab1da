"""`run`: a whole chain in this one process, for notebooks, tests and debuggers.

Each listener has its thread, which puts messages into a queue as long as its window; one more
thread (the caller's) takes them out and carries each through the chain. Nothing is restarted, and
each stage is there once, whatever its `replicas`. A message that a stage raises on goes the way
that `on_error` says, and one for which something outside is away is tried again until that is back.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from arroyo.clock import SystemClock
from arroyo.codec import MessageCodec
from arroyo.config.graph import Chain, Stage
from arroyo.config.reader import load_chain
from arroyo.control.meeting import find_folders
from arroyo.errors import ArroyoError, StageError, UnavailableError, may_pass
from arroyo.identifiers import ReplicaName, new_epoch, new_run
from arroyo.runner.quarantine.store import Quarantine
from arroyo.stages import Awaiter

from .intake.input_batch import Counts
from .intake.input_window import InputWindow
from .intake.listener_thread import ListenerThread
from .process.stop_signals import StopNowError
from .quarantine.writer import QuarantineWriter
from .routing import Call, Router, SourceRoute, edges_of
from .user_code.calls import PublisherCall
from .user_code.fold_call import operator_call
from .user_code.loading import build_listener, build_operator, build_publisher, load_message_types
from .user_code.methods import call_if_there
from .user_code.trials import in_words, require_users_own

_log = logging.getLogger(__name__)

FLUSH_S = 0.1
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
"""Between two tries of a message while something outside is away; it doubles each time."""
STOPPING_PAUSE_S = 1.0
"""The same at most, while the chain stops."""
COUNTED = ("received", "sent", "filtered", "skipped", "quarantined")
LOOK_S = 0.05
"""How often a pause looks whether the chain shall stop."""


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
    run_and_count(chain)


def run_and_count(chain: Chain | str | Path) -> Mapping[str, Mapping[str, int]]:
    """Do as `run`; returns for each stage what it has received, sent, quarantined and so on."""
    if not isinstance(chain, Chain):
        chain = load_chain(chain)
    quarantine = Quarantine(find_folders(chain.name, os.environ).state.quarantine)
    with _folder_and_environment(chain):
        return _InProcessChain(chain, quarantine).run()


class _InProcessChain:
    def __init__(self, chain: Chain, quarantine: Quarantine) -> None:
        self._chain = chain
        self._quarantine = quarantine
        self._codec = MessageCodec(load_message_types(chain))
        self._something = threading.Event()
        self._calls: dict[str, Call] = {}
        self._sources: list[_Source] = []
        self._stop_asked: Callable[[], bool] = bool
        self._stopping_since_s: float | None = None

    def run(self) -> Mapping[str, Mapping[str, int]]:
        with contextlib.ExitStack() as cleanup:
            for level in reversed(self._chain.levels):
                for stage in level:
                    self._open(stage, cleanup)
            self._router = Router(self._calls, self._codec, edges_of(self._chain), self._wait)
            with _stop_signals() as asked:
                self._stop_asked = asked
                for source in self._sources:
                    source.start(self._router, asked)
                try:
                    self._work()
                finally:
                    self._tell()
        errors = [source.listening.error for source in self._sources if source.listening]
        for error in filter(None, errors):
            raise error
        return self._router.counts

    def _open(self, stage: Stage, cleanup: contextlib.ExitStack) -> None:
        if stage.role == "listener":
            source = _Source(self._chain, stage, self._codec, self._something)
            self._sources.append(source)
            cleanup.callback(source.close)
            return
        maker: Any = build_operator if stage.role == "operator" else build_publisher
        made = maker(self._chain, stage)
        name = ReplicaName(stage.name, 0)
        isolation = QuarantineWriter(
            self._quarantine,
            self._chain,
            name,
            self._codec,
            SystemClock(),
            as_it_came=lambda _: self._router.as_it_came(),
        )
        call: Call
        if stage.role == "operator":
            call = operator_call(stage, made, self._codec, None, isolation)
        else:
            call = PublisherCall(stage, made, isolation)
        self._calls[stage.name] = call
        _call(made, "open", call.open)
        cleanup.callback(_call, made, "close", call.close)

    def _work(self) -> None:
        while any([source.carry() for source in self._sources]):
            self._something.wait(FLUSH_S)
            self._something.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Flush what was published; only then is the input of it finished."""
        for stage, call in self._calls.items():
            if isinstance(call, PublisherCall) and call.flushes:
                self._flush_one(stage, call)
        for source in self._sources:
            source.acknowledge()

    def _flush_one(self, stage: str, call: PublisherCall) -> None:
        def flush() -> None:
            self._router.take_back(stage, call.flush().values())

        for attempt in itertools.count():
            try:
                _call(call.publisher, "flush", flush)
            except UnavailableError as error:
                self._wait(error, attempt)
            else:
                return

    def _wait(self, error: UnavailableError, attempt: int) -> None:
        """Pause before the next try; a chain that stops has only so much time for them."""
        if attempt == 0:
            _log.warning("%s; it is tried again until it works", error)
        begun_s = time.monotonic()
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))
        while (now_s := time.monotonic()) < begun_s + pause_s:
            if self._stop_asked():
                self._stopping_since_s = self._stopping_since_s or now_s
                if now_s >= self._stopping_since_s + self._chain.supervision.stop_timeout_s:
                    raise error
                pause_s = min(pause_s, STOPPING_PAUSE_S)
            time.sleep(LOOK_S)

    def _tell(self) -> None:
        """Give the account of what went through."""
        for stage in self._chain.stages:
            counted = self._router.counts[stage]
            shown = [f"{counted[word]:,} {word}" for word in COUNTED if counted[word]]
            _log.info("%s: %s", stage, ", ".join(shown) or "nothing")
        for source in self._sources:
            if left := source.left:
                _log.warning("%s: %d handed over and not delivered", source.name, left)
        if count := sum(counted["quarantined"] for counted in self._router.counts.values()):
            name = self._chain.name
            _log.warning("%d in quarantine: see 'arroyo quarantine list %s'", count, name)


class _Source:
    """One listener with its thread and queue."""

    def __init__(
        self, chain: Chain, stage: Stage, codec: MessageCodec, something: threading.Event
    ) -> None:
        self.name = ReplicaName(stage.name, 0)
        self._something = something
        self._gateway = InputWindow(stage, codec, None, something.set, Counts([0], [0], [0]))
        self._listener = build_listener(chain, stage, self._gateway)
        self.listening: ListenerThread | None = None
        self._awaiter = Awaiter()
        self._carried: list[Any] = []
        """Tokens of what went through and is not flushed yet."""
        self._call("open")

    def start(self, router: Router, stop_asked: Callable[[], bool]) -> None:
        self._stop_asked = stop_asked
        self._route = SourceRoute(
            self.name, new_epoch(), router, new_run, self._gateway.runs.early_stop
        )
        self.listening = ListenerThread(self._listener, self._awaiter, self._something.set)

    @property
    def left(self) -> int:
        """How many events the listener has handed over that did not go all the way."""
        return self._gateway.received - self._route.carried

    def carry(self) -> bool:
        """Carry what waits through the chain, but not for long; False: nothing more will come."""
        assert self.listening is not None
        ended = self.listening.ended
        self._stop_if_asked()
        until = time.monotonic() + FLUSH_S
        while (intake := self._gateway.take()) is not None:
            self._stop_if_asked()
            self._route.take(intake)
            self._gateway.release(max(1, len(intake.items)), intake.size)
            self._carried += intake.tokens
            if time.monotonic() >= until:
                self._something.set()  # there may be more: it is looked for after the flush
                return True
        if not ended:
            return self._gateway.fall_asleep() or True
        self._route.close("the source ended in mid-run")
        return False

    def acknowledge(self) -> None:
        """Tell the listener that what went through is finished."""
        if self._carried and self.listening is not None:
            carried, self._carried = self._carried, []
            self.listening.acknowledge(carried)

    def _stop_if_asked(self) -> None:
        if self.listening is not None and self._stop_asked():
            self.listening.stop()

    def close(self) -> None:
        self._gateway.shut()
        if self.listening is not None:
            self.listening.stop()
            self.listening.join()
        try:
            self._call("close")
        finally:
            self._awaiter.close()

    def _call(self, method: str) -> None:
        do = functools.partial(call_if_there, self._listener, method, self._awaiter)
        _call(self._listener, method, do)


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


def _call(stage: object, method: str, do: Callable[[], None]) -> None:
    """Call a method of a stage for the chain; what it raises becomes a sentence."""
    try:
        do()
    except ArroyoError:
        raise
    except BaseException as error:
        require_users_own(error)
        kind = UnavailableError if may_pass(error) else StageError
        raise kind(f"{type(stage).__name__}.{method}() raised {in_words(error)}") from error


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
