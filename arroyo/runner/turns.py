"""`Turns`: a whole chain in one thread, in which each stage has its turn when it has work.

The stages run in the shells of their processes (`SourceProcess`, `RelayProcess`, `FoldProcess`),
with queues for links. The lowest stage that has something to do comes first, and a stage gives way
after each message (or a few, where many quick ones wait): so a message goes all the way down before
the next one is worked on.
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

from .process.relay_process import RelayProcess
from .process.stage_context import Shell, StageContext, Wait
from .process.stop_signals import StopSignals
from .quarantine.store import Entry, Quarantine


class Turn:
    """One stage, and what it waits for.

    Parameters
    ----------
    links
        Where its work comes from.
    shell
        What it does; see `RelayProcess.turns`.
    """

    def __init__(self, links: MemoryLinks, shell: Generator[Wait, None, None]) -> None:
        self._links = links
        self._shell = cast("GeneratorType[Wait, None, None]", shell)
        self._wait = Wait(0.0)
        self._due = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has ended, be it with an error."""
        return self._shell.gi_frame is None

    def seconds_left(self, now: float) -> float:
        """Return for how long it has nothing to do, as it looks now."""
        if self.ended or self._shell.gi_running:
            return float("inf")
        return 0.0 if self._links.has_come(deaf=self._wait.deaf) else self._due - now

    def give(self) -> None:
        """Let it work until it would wait; raises what it has failed with."""
        self._wait = next(self._shell, self._wait)
        self._due = time.monotonic() + self._wait.timeout_s


class Turns:
    """The stages of a chain; each is there once, whatever its `replicas`.

    Parameters
    ----------
    chain
        The chain as it is in its file.
    woken
        Called from any thread when a stage has something to do.

    Attributes
    ----------
    stop_asked
        Tells whether the listeners shall end.
    errors
        What listeners have ended with, in their order of time: all others go on.
    """

    def __init__(self, chain: Chain, woken: Callable[[], None] = lambda: None) -> None:
        self.stop_asked: Callable[[], bool] = bool
        self.errors: list[ArroyoError] = []
        stages = {
            name: msgspec.structs.replace(stage, replicas=1) for name, stage in chain.stages.items()
        }
        self.chain = chain = msgspec.structs.replace(chain, stages=stages)
        self.links: dict[str, MemoryLinks] = {}
        self.relays: dict[str, RelayProcess] = {}
        self._closing = contextlib.ExitStack()
        self._stops = False
        self.listeners = [name for name, stage in stages.items() if stage.role == "listener"]
        self._turns: dict[str, Turn] = {}
        """Of all stages that have begun, the lowest first."""
        others: dict[ReplicaName, MemoryLinks] = {}
        for name, stage in stages.items():
            self.links[name] = others[ReplicaName(name, 0)] = MemoryLinks(
                others,
                subscribers=[
                    ReplicaName(below.name, 0)
                    for below, link in chain.downstream(name)
                    if link == "pub-sub"
                ],
                subscriptions=[
                    ReplicaName(each.stage, 0) for each in stage.inputs if each.link == "pub-sub"
                ],
                woken=woken,
            )

    def begin(self, stage: str, shell: Shell) -> None:
        """Have a stage open; those below it have begun before."""
        if isinstance(shell, RelayProcess):
            self.relays[stage] = shell
        turns = shell.turns()
        self._closing.callback(turns.close)
        self._turns[stage] = Turn(self.links[stage], turns)
        self._turns[stage].give()

    def flush(self) -> bool:
        """Flush what was published; False: nothing was."""
        flushed = [name for name, relay in self.relays.items() if relay.flush()]
        for name in flushed:
            self.links[name].wake()
        return bool(flushed)

    def close(self) -> None:
        """Close all stages that have begun and not ended, the highest first."""
        self._closing.close()

    def have_ended(self, stages: Iterable[str]) -> bool:
        """Whether all of these have begun, and ended."""
        return all(stage in self._turns and self._turns[stage].ended for stage in stages)

    def give(self, stages: Collection[str] | None = None) -> float:
        """Give a turn to the lowest of some stages, or of all, that has something to do.

        Returns
        -------
        0, or where none of them has, for how long.
        """
        if self.stop_asked() and not self._stops:
            self._stops = True
            self.give_each(self.listeners)
        now, least = time.monotonic(), float("inf")
        for name, turn in self._turns.items():
            if stages is None or name in stages:
                left = turn.seconds_left(now)
                if left <= 0:
                    self._give(name)
                    return 0.0
                least = min(least, left)
        # Receipts wait for each other, but not while nobody has anything else to do.
        if stages is None and any([relay.send_receipts() for relay in self.relays.values()]):
            return 0.0
        return least

    def give_each(self, stages: Iterable[str]) -> None:
        """Give one turn to each of these that has not ended, so that it hears what has come."""
        for stage in stages:
            if self._turns[stage].seconds_left(0.0) < float("inf"):
                self._give(stage)

    def _give(self, name: str) -> None:
        turn = self._turns[name]
        try:
            turn.give()
        except ArroyoError as error:
            if name not in self.listeners:
                raise
            self.errors.append(error)
        if turn.ended:
            for below, _ in self.chain.downstream(name):
                self.links[below.name].wake()  # it may have to end as well


class MemoryContext(StageContext):
    """One stage of a chain in one process.

    Parameters
    ----------
    turns, stage
        Which one.
    quarantine
        Folder of the quarantine.
    """

    shares_thread = True

    def __init__(self, turns: Turns, stage: str, quarantine: Path) -> None:
        name, history = ReplicaName(stage, 0), History(time.monotonic())
        super().__init__(turns.chain, name, None, Notifier(), None, history=history)
        self.links = turns.links[stage]
        self.quarantine = _OneWayQuarantine(quarantine)
        self.turns = turns
        self.signals = _Signals(self._is_over)
        self._below = [each.name for each in turns.chain.below(stage)]

    def _is_over(self) -> bool:
        """Return True if it shall drain: those above have ended, and it has all from them."""
        if not self.stage.inputs:
            return self.turns.stop_asked()
        above = [source.stage for source in self.stage.inputs]
        return self.turns.have_ended(above) and not self.turns.links[self.name.stage].has_data

    def tell(self, words: str, *values: object) -> None:
        """Say nothing: all stages begin and end together."""

    def give_way(self) -> None:
        """Let those below work off what there is."""
        while self.turns.give(self._below) == 0:
            pass


class _Signals(StopSignals):
    def __init__(self, is_over: Callable[[], bool]) -> None:
        self.orphaned = False
        self._is_over = is_over

    @property
    def asked(self) -> bool:
        return self._is_over()


class _OneWayQuarantine(Quarantine):
    """What is put there comes back when the chain runs as processes (decision 14)."""

    def requeued(self, source: str | None = None) -> list[Entry]:
        return []
