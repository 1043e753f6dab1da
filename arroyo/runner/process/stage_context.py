"""`StageContext`: what the shell of a stage has around it: names, links, status page, watch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from arroyo.clock import Clock, SystemClock
from arroyo.codec import (
    BackRecord,
    Batch,
    Encoded,
    Hello,
    MessageCodec,
    Refuse,
    Shared,
    Suspect,
    join,
)
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Stage
from arroyo.config.state_directory import StateDirectory
from arroyo.control.locks import owner
from arroyo.control.notify import Notifier
from arroyo.control.suspect_note import take_suspect
from arroyo.errors import ArroyoError, DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message
from arroyo.protocol.values.history import History
from arroyo.runner.quarantine.store import Quarantine
from arroyo.runner.user_code.loading import load_message_types
from arroyo.shared_memory.payloads import PayloadStore
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase

from .allocation import settle
from .lives import begin_life
from .stop_signals import StopSignals
from .unclosed_runs import UnclosedRuns
from .watch import ORPHAN_EXIT_S, Watch

if TYPE_CHECKING:
    from types import TracebackType

    from arroyo.links.memory import MemoryLinks
    from arroyo.links.sockets import Links

_log = logging.getLogger(__name__)

LOGGED_REJECTS = 20
"""Broken frames that are logged; later ones are only counted."""


class Wait(NamedTuple):
    """How long a shell has nothing to do, unless something comes."""

    timeout_s: float
    deaf: bool = False
    """It can't take data."""


class Shell(Protocol):
    """Runs one replica, of whatever role."""

    def turns(self) -> Generator[Wait, None, None]:
        """Run it from `open()` to `close()`; yields where it has nothing to do for now."""
        ...


class StageContext:
    """One running replica; a context manager, which closes everything at its end.

    Parameters
    ----------
    chain, name
        Which one.
    folders
        Those of the chain; None: nothing of it is kept, and no other process knows of it.
    notifier
        Whom to tell of readiness.
    lifeline
        Descriptor that tells of the supervisor's death; None where there is no supervisor.
    history
        Where its state machine notes what it did.

    Attributes
    ----------
    shares_thread
        Whether other stages have to have their turns in the thread that runs this one.
    """

    links: Links | MemoryLinks
    shares_thread = False

    def __init__(
        self,
        chain: Chain,
        name: ReplicaName,
        folders: Folders | None,
        notifier: Notifier,
        lifeline: int | None,
        *,
        history: History,
    ) -> None:
        self.chain = chain
        self.name = name
        self.stage: Stage = chain.stages[name.stage]
        self.notifier = notifier
        self.history = history
        self.clock: Clock = SystemClock()
        self.codec = MessageCodec(load_message_types(chain))
        self.incarnation = time.time_ns()
        self.page_path: Path | None = None
        self.state: StateDirectory | None = None
        self.runs: UnclosedRuns | None = None
        self._directory = None if folders is None else folders.run
        if folders is not None:
            self.state = folders.state
            self.quarantine = Quarantine(folders.state.quarantine)
            self.incarnation = begin_life(folders.state.lives(name), self.incarnation)
            self.page_path = folders.run.status_page(name)
            self.runs = UnclosedRuns(self.page_path, folders.state.former_runs(name))
        self.page = StatusPage(self.page_path, os.getpid(), self.incarnation)
        self._lifeline = lifeline
        self.rejected = 0
        """Frames that were no records."""
        self._phase = Phase.STARTING
        self._lives: dict[ReplicaName, int] = {}
        self._places = {str(name): place for place, name in enumerate(chain.replicas)}
        self.hand_sequence = self.page.word("hand_sequence")
        self.hand_part = self.page.word("hand_part")
        self.payloads = PayloadStore(
            chain,
            name,
            self.incarnation,
            self._directory,
            sequence_in_hand=lambda: self.hand_sequence[0] - 1,
            is_alive=self._is_alive,
        )
        self.codec.keep = None if folders is None else self.payloads.keep

    def __enter__(self) -> StageContext:
        from arroyo.links.addresses import Addresses
        from arroyo.links.sockets import Links

        assert self._directory is not None
        below = self.chain.downstream(self.name.stage)
        inputs = self.stage.inputs
        above = {source: self.chain.stages[source.stage].names for source in inputs}
        self.links = Links(
            self.name,
            Addresses(self.chain, self._directory),
            receives=any(source.link == "push-pull" for source in inputs),
            sends=bool(below),
            publishes=any(link == "pub-sub" for _, link in below),
            above=[name for names in above.values() for name in names],
            below=[name for stage in self.chain.below(self.name.stage) for name in stage.names],
            subscriptions=[
                name
                for source, names in above.items()
                if source.link == "pub-sub"
                for name in names
            ],
            reject=self._reject,
        )
        self.signals = StopSignals(self.links.wake)
        self.watch = Watch(self._lifeline, self.notifier, self._orphaned, self._abandoned)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.enter(Phase.CLOSED)
        self.signals.ignore()
        self.links.close(flush=error is None)
        self.payloads.close()
        self.watch.close()  # until here it ends an orphan that hangs
        self.enter(Phase.ENDED)
        if self.runs is not None:
            self.runs.close()
        self.page.close()

    def decode(self, item: Encoded) -> Message:
        """Read back a message that this replica has encoded and nobody has finished yet.

        Raises
        ------
        DecodeError
            Its payload is gone.
        """
        body, places, payloads = join([item])
        if isinstance(item, Shared):
            places, payloads = (0,), [self.payloads.copy(item.reference)]
        return self.codec.decode(body, places, payloads)[0]

    def _is_alive(self, other: ReplicaName) -> bool:
        return self._directory is None or owner(self._directory.lock(other)) is not None

    def _orphaned(self) -> None:
        _log.warning("the supervisor has died; draining")
        self.signals.note_orphaned()

    def _abandoned(self) -> None:
        _log.error("it did not end within %g s of the supervisor's death; leaving", ORPHAN_EXIT_S)
        self.payloads.remove()

    def _reject(self, error: DecodeError) -> None:
        self.rejected += 1
        if self.rejected <= LOGGED_REJECTS:
            _log.warning("refused: %s", error)

    def enter(self, phase: Phase) -> None:
        """Mark on the status page what the main thread is at, and since when."""
        if phase is not self._phase:
            self._phase = phase
            self.page.enter(phase, self.now_ns())

    def note_waiting(self) -> bool:
        """Note that the stage's code waits and is not hung; return True if it should stop."""
        self.page.add("waits", 1)
        return self.signals.asked

    def take_in_hand(self, batch: Batch) -> None:
        """Mark on the status page that the stage's code works on the messages of `batch` now.

        Which one it is goes into `hand_sequence` and, for parts of one, `hand_part`: one word
        for each message, and no look at the clock.
        """
        self.page.take(self._places.get(batch.source, -1), batch.epoch, batch.base)

    def take_suspect(self) -> Suspect | None:
        """Return what the life before has died of, if a message may be to blame; only once."""
        found = None if self._directory is None else take_suspect(self._directory, self.name)
        if found is None:
            return None
        sequence, words = found.sequence, (found.reason, found.stack)
        _log.warning("the life before %s on %s", found.reason, found.source)
        return Suspect(*self.name, self.incarnation, found.source, found.epoch, sequence, *words)

    # While the stage's code works

    def give_way(self) -> None:
        """Let others have their turn, between two parts of a batch."""

    def endure(self, error: ArroyoError, attempt: int) -> bool:
        """Raise what the stage's code failed with, or wait until it may succeed.

        `attempt`: how often it was tried again before. Returns True where the chain goes on
        without what it failed on.
        """
        raise error

    def now_ns(self) -> int:
        """Monotonic time, in ns."""
        return int(self.clock.monotonic() * 1e9)

    def report_ready(self, status: str) -> None:
        """Tell whoever started this process that it is ready."""
        if self.state is not None:
            settle()  # the process is the stage's own
        self.history.note("ready")
        self.page.set("ready_since_ns", self.now_ns())
        self.notifier.ready(status)
        self.tell("ready: %s", status)

    def tell(self, words: str, *values: object) -> None:
        """Log what this stage has come to."""
        _log.info(words, *values)

    def report_stopping(self) -> None:
        """Tell whoever started this process that it is going to end."""
        self.enter(Phase.DRAIN)
        self.history.note("drains")
        self.notifier.stopping()
        self.tell("draining")

    def note(self, record: BackRecord) -> None:
        """Log what people should know of a record from below."""
        if isinstance(record, Refuse):
            _log.error("%s.%d refuses: %s", record.stage, record.replica, record.reason)
        elif isinstance(record, Hello):
            name = ReplicaName(record.stage, record.replica)
            if self._lives.get(name) != record.incarnation:
                self._lives[name] = record.incarnation
                self.tell("%s connected", name)
