"""`CooperativeScheduler`: runs the stages of a chain in one thread.

They run in the shells of their processes (`SourceProcess`, `RelayProcess`), with queues for links.
The lowest stage that has something to do comes first, and a stage gives way after each message (or
a few, where many quick ones wait): so a message goes all the way down before the next one is worked
on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Generator, Iterable
from pathlib import Path
from types import GeneratorType
from typing import cast

import msgspec

from arroyo.config.graph import Chain
from arroyo.control.notify import Notifier
from arroyo.errors import ArroyoError
from arroyo.identifiers import ReplicaName
from arroyo.links.memory import MemoryLinks
from arroyo.protocol.values.history import History

from .process.stage_context import Shell, StageContext, Wait
from .process.stop_signals import StopSignals
from .quarantine.store import Quarantine, QuarantineEntry
from .relay.relay_process import RelayProcess


class ScheduledStage:
    """One stage that has begun: its shell, and when it has something to do next."""

    def __init__(self, links: MemoryLinks, shell: Generator[Wait, None, None]) -> None:
        self._links = links
        self._shell = cast("GeneratorType[Wait, None, None]", shell)
        self._wait = Wait(0.0)
        self._due = 0.0

    @property
    def ended(self) -> bool:
        """Return True once it has ended, also with an error."""
        return self._shell.gi_frame is None

    def seconds_left(self, now: float) -> float:
        """Return for how long it has nothing to do, as it looks now."""
        if self.ended or self._shell.gi_running:
            return float("inf")
        return 0.0 if self._links.has_come(deaf=self._wait.deaf) else self._due - now

    def run(self) -> None:
        """Let it work until it would wait; what it fails with is raised."""
        self._wait = next(self._shell, self._wait)
        self._due = time.monotonic() + self._wait.timeout_s


class CooperativeScheduler:
    """The stages of a chain; each is there once, whatever its `replicas`.

    `woken`: called from any thread when a stage has something to do.
    """

    def __init__(self, chain: Chain, woken: Callable[[], None] = lambda: None) -> None:
        self.stop_asked: Callable[[], bool] = bool
        """Tells whether the listeners shall end."""
        self.errors: list[ArroyoError] = []
        """What listeners have ended with, in their order of time: all others go on."""
        stages = {
            name: msgspec.structs.replace(stage, replicas=1) for name, stage in chain.stages.items()
        }
        self.chain = chain = msgspec.structs.replace(chain, stages=stages)
        self.links: dict[str, MemoryLinks] = {}
        self.relays: dict[str, RelayProcess] = {}
        self._closing = contextlib.ExitStack()
        self._stops = False
        self.listeners = [name for name, stage in stages.items() if stage.role == "listener"]
        self._running: dict[str, ScheduledStage] = {}
        """Of all stages that have begun, the lowest first."""
        others: dict[ReplicaName, MemoryLinks] = {}
        for name in stages:
            self.links[name] = others[ReplicaName(name, 0)] = MemoryLinks(
                others,
                subscribers=[
                    ReplicaName(below.name, 0)
                    for below, link in chain.downstream(name)
                    if link == "pub-sub"
                ],
                subscriptions=chain.subscriptions(name),
                woken=woken,
            )

    def begin(self, stage: str, shell: Shell) -> None:
        """Open a stage; those below it are open already."""
        if isinstance(shell, RelayProcess):
            self.relays[stage] = shell
        running = shell.steps()
        self._closing.callback(running.close)
        self._running[stage] = ScheduledStage(self.links[stage], running)
        self._running[stage].run()

    def flush(self) -> bool:
        """Flush all publishers; return False if nothing was published."""
        flushed = [name for name, relay in self.relays.items() if relay.flush()]
        for name in flushed:
            self.links[name].wake()
        return bool(flushed)

    def close(self) -> None:
        """Close all stages that have begun and not ended, the highest first."""
        self._closing.close()

    def have_ended(self, stages: Iterable[str]) -> bool:
        """Return True if all of these have begun, and ended."""
        return all(stage in self._running and self._running[stage].ended for stage in stages)

    def run_next(self, stages: Collection[str] | None = None) -> float:
        """Give a turn to the lowest of some stages, or of all, that has something to do.

        Returns 0, or where none of them has, for how long.
        """
        if self.stop_asked() and not self._stops:
            self._stops = True
            self.run_each(self.listeners)
        now, least = time.monotonic(), float("inf")
        for name, running in self._running.items():
            if stages is None or name in stages:
                left = running.seconds_left(now)
                if left <= 0:
                    self._run(name)
                    return 0.0
                least = min(least, left)
        # Replies wait for each other, but not while nobody has anything else to do.
        if stages is None and any([relay.send_replies() for relay in self.relays.values()]):
            return 0.0
        return least

    def run_each(self, stages: Iterable[str]) -> None:
        """Give one turn to each of these that has not ended, so that it hears what has come."""
        for stage in stages:
            if self._running[stage].seconds_left(0.0) < float("inf"):
                self._run(stage)

    def _run(self, name: str) -> None:
        running = self._running[name]
        try:
            running.run()
        except ArroyoError as error:
            if name not in self.listeners:
                raise
            self.errors.append(error)
        if running.ended:
            for below, _ in self.chain.downstream(name):
                self.links[below.name].wake()  # it may have to end as well


class MemoryContext(StageContext):
    """One stage of a chain in one process."""

    shares_thread = True

    def __init__(self, scheduler: CooperativeScheduler, stage: str, quarantine: Path) -> None:
        name, history = ReplicaName(stage, 0), History(time.monotonic())
        super().__init__(scheduler.chain, name, None, Notifier(), None, history=history)
        self.links = scheduler.links[stage]
        self.quarantine = _OneWayQuarantine(quarantine)
        self.scheduler = scheduler
        self.signals = _Signals(self._is_over)
        self._below = [each.name for each in scheduler.chain.below(stage)]

    def _is_over(self) -> bool:
        """Return True once it should drain: all above have ended, and nothing of them is left."""
        if not self.stage.inputs:
            return self.scheduler.stop_asked()
        above = [source.stage for source in self.stage.inputs]
        return (
            self.scheduler.have_ended(above) and not self.scheduler.links[self.name.stage].has_data
        )

    def tell(self, words: str, *values: object) -> None:
        """Log nothing: all stages start and stop together."""

    def give_way(self) -> None:
        """Let the stages below finish their work first."""
        while self.scheduler.run_next(self._below) == 0:
            pass


class _Signals(StopSignals):
    def __init__(self, is_over: Callable[[], bool]) -> None:
        self.orphaned = False
        self._is_over = is_over

    @property
    def asked(self) -> bool:
        return self._is_over()


class _OneWayQuarantine(Quarantine):
    """A quarantine that requeues nothing: that is for a chain of processes (decision 14)."""

    def requeued(self, source: str | None = None) -> list[QuarantineEntry]:
        return []
