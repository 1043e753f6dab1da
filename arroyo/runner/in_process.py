"""`run`: a whole chain in this one process, for notebooks, tests and debuggers.

Each listener has its thread, which puts messages into a queue as long as its window; one more
thread (the caller's) takes them out and carries each through the chain. Nothing is restarted, and
each stage is there once, whatever its `replicas`. A message that a stage raises on goes the way
that `on_error` says, and one for which something outside is away is tried again until that is back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

from arroyo.config.graph import Chain, Stage, without_programs
from arroyo.config.reader import load_chain
from arroyo.control.shared_folders import find_folders
from arroyo.errors import ArroyoError, ConfigurationError, StageError, UnavailableError

from .cooperative_scheduler import CooperativeScheduler, MemoryContext
from .process.stage_process import make_shell
from .process.stop_signals import StopNowError
from .user_code.loading import check_options, load_factory

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
"""Between two tries of a message while something outside is away; it doubles each time."""
STOPPING_PAUSE_S = 1.0
"""The same at most, while the chain stops."""
COUNTED = ("received", "sent", "filtered", "skipped", "quarantined")
LOOK_S = 0.05
"""How often a pause looks whether the chain shall stop."""
IDLE_S = 0.002
"""Publishers are flushed after all stages were idle for this time."""


def run(chain: Chain | str | Path) -> None:
    """Run a chain in this process until its listeners have ended, or Ctrl-C (SIGINT or SIGTERM).

    The first one stops the listeners, and what they handed over goes through; the second one
    stops the chain now. Programs of the chain are not run: start those that it needs before.

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
    chain = without_programs(chain)
    quarantine = find_folders(chain.name, os.environ).state.quarantine
    try:
        with _folder_and_environment(chain):
            return _InProcessChain(chain, quarantine).run()
    except SystemExit as error:
        raise StageError(
            f"the stage's code has ended its process by sys.exit({error.code})"
        ) from error


class _InProcessChain:
    def __init__(self, chain: Chain, quarantine: Path) -> None:
        self._chain = chain
        self._quarantine = quarantine
        self._something = threading.Event()
        self.scheduler = CooperativeScheduler(chain, self._something.set)
        self._contexts: dict[str, _Context] = {}

    def run(self) -> Mapping[str, Mapping[str, int]]:
        with contextlib.closing(self.scheduler):
            for level in reversed(self._chain.levels):
                for stage in level:
                    self._begin(stage)
            with contextlib.ExitStack() as ending:
                ending.callback(self._tell)
                ending.callback(self.scheduler.close)
                with _stop_signals() as self.scheduler.stop_asked:
                    self._work()
        for error in self.scheduler.errors:
            raise error
        return {stage: self._contexts[stage].counts for stage in self._chain.stages}

    def _begin(self, stage: Stage) -> None:
        context = self._contexts[stage.name] = _Context(
            self.scheduler, stage.name, self._quarantine
        )
        if problems := check_options(load_factory(stage, self._chain), stage):
            raise ConfigurationError(*problems)  # of its replicas: here there is only one of each
        self.scheduler.begin(stage.name, make_shell(context))

    def _work(self) -> None:
        idle = False
        try:
            while not self.scheduler.have_ended(self._chain.stages):
                self._something.clear()
                left_s = self.scheduler.run_next()
                if left_s <= 0:
                    idle = False
                elif not (idle and self.scheduler.flush()):
                    self._something.wait(min(left_s, LOOK_S if idle else IDLE_S))
                    idle = True
        except ArroyoError:
            # What was handed over before goes through.
            with contextlib.suppress(ArroyoError):
                while self.scheduler.run_next(self.scheduler.relays) <= 0:
                    pass
            raise
        finally:
            self.scheduler.run_each(self.scheduler.listeners)

    def _tell(self) -> None:
        """Log the totals of each stage."""
        for stage in self._chain.stages:
            context = self._contexts[stage]
            shown = [f"{count:,} {word}" for word, count in context.counts.items() if count]
            _log.info("%s: %s", stage, ", ".join(shown) or "nothing")
        for context in self._contexts.values():
            if left := context.page.word("unfinished")[0]:
                _log.warning("%s: %d handed over and not delivered", context.name, left)
        if count := sum(context.counts["quarantined"] for context in self._contexts.values()):
            name = self._chain.name
            _log.warning("%d in quarantine: see 'arroyo quarantine list %s'", count, name)


class _Context(MemoryContext):
    """A stage that tries again until what it needs is back."""

    _stopping_since_s: float | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Return what it has received, sent, quarantined and so on."""
        words = [word for word in COUNTED if self.stage.inputs or word != "received"]
        return {word: self.page.word(word)[0] for word in words}

    def endure(self, error: ArroyoError, attempt: int) -> bool:
        """Pause before the next try; a chain that stops has only so much time for them."""
        if not isinstance(error, UnavailableError):
            raise error
        if attempt == 0:
            _log.warning("%s; it is tried again until it works", error)
        begun_s = time.monotonic()
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))
        while (now_s := time.monotonic()) < begun_s + pause_s:
            if self.scheduler.stop_asked():
                self._stopping_since_s = self._stopping_since_s or now_s
                if now_s >= self._stopping_since_s + self.chain.supervision.stop_timeout_s:
                    raise error
                pause_s = min(pause_s, STOPPING_PAUSE_S)
            time.sleep(LOOK_S)
        return False


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
