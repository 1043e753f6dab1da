"""`StageContext`: what every replica has: names, links, status page, payloads, signals, watch."""

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
from arroyo.control.away_note import read_away
from arroyo.control.locks import owner
from arroyo.control.notify import Notifier
from arroyo.control.suspect_notes import SuspectLists, take_suspect
from arroyo.errors import ArroyoError, DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message
from arroyo.protocol.values.history import History
from arroyo.runner.quarantine.store import Quarantine
from arroyo.runner.state.incarnations import next_incarnation
from arroyo.runner.state.link_places import LinkPlacesFile
from arroyo.runner.state.unclosed_runs import UnclosedRuns
from arroyo.runner.user_code.loading import load_message_types
from arroyo.shared_memory.payloads import PayloadStore
from arroyo.stages import AllocatingStage, WaitingStage
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import NO_SEQUENCE, Phase

from .live_parameters import LiveParameters
from .memory_tuning import tune_memory
from .stop_signals import StopSignals
from .supervisor_watch import ORPHAN_EXIT_S, SupervisorWatch
from .tap import Tap

if TYPE_CHECKING:
    from arroyo.links.memory import MemoryLinks
    from arroyo.links.sockets import Links

_log = logging.getLogger(__name__)

LOGGED_REJECTS = 20
"""Broken frames that are logged; later ones are only counted."""


class Wait(NamedTuple):
    """How long a replica waits at its links, unless something comes."""

    timeout_s: float
    deaf: bool = False
    """It takes no data, as what it has made before is not sent yet."""


class Shell(Protocol):
    """Runs one replica, of whatever role."""

    def steps(self) -> Generator[Wait, None, None]:
        """Run it from `open()` to `close()`; yields before each wait at its links.

        To be closed where it shall end at once.

        ArroyoError: the stage refused to start, or failed for good.
        """
        ...


class StageContext:
    """One running replica; a context manager, which closes everything at its end.

    `folders`: those of the chain; None: nothing of it is kept, and no other process knows of it.
    `lifeline`: descriptor that tells of the supervisor's death; None where there is no supervisor.
    """

    links: Links | MemoryLinks
    shares_thread = False
    """Whether other stages have to have their turns in the thread that runs this one."""

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
        self.suspect_lists = SuspectLists(self._directory, self.stage.names)
        self.link_places = LinkPlacesFile(self._directory, name)
        if folders is not None:
            self.state = folders.state
            self.quarantine = Quarantine(folders.state.quarantine)
            self.incarnation = next_incarnation(folders.state.incarnations(name), self.incarnation)
            self.page_path = folders.run.status_page(name)
            self.runs = UnclosedRuns(self.page_path, folders.state.former_runs(name))
        self.page = StatusPage(self.page_path, os.getpid(), self.incarnation)
        self._lifeline = lifeline
        self.rejected = 0
        """Frames that were no records."""
        self.is_done = False
        """Whether its work is done, which an error behind that, as of `close()`, leaves done."""
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
            current_sequence=self._current_sequence,
            is_alive=self._is_alive,
        )
        note = None if folders is None or lifeline is None else folders.run.parameters(name.stage)
        self.parameters = LiveParameters(self.stage, note, notifier)
        self.codec.keep = None if folders is None else self.payloads.keep
        tap_path = None if folders is None else folders.run.tap(name)
        self.tap = Tap(tap_path, chain.downstream(name.stage), self.payloads, self.clock)

    def __enter__(self) -> StageContext:
        from arroyo.links.addresses import Addresses
        from arroyo.links.sockets import Links

        assert self._directory is not None
        below = self.chain.downstream(self.name.stage)
        above = self.chain.senders(self.name.stage)
        self.links = Links(
            self.name,
            Addresses(self.chain, self._directory),
            receives="push-pull" in above.values(),
            sends=bool(below),
            publishes=any(link == "pub-sub" for _, link in below),
            above=above,
            below=[name for stage in self.chain.below(self.name.stage) for name in stage.names],
            subscriptions=self.chain.subscriptions(self.name.stage),
            reject=self._reject,
        )
        self.signals = StopSignals(self.links.wake)
        self.watch = SupervisorWatch(self._lifeline, self.notifier, self._orphaned, self._abandoned)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.enter(Phase.CLOSED)
        self.signals.ignore()
        self.links.close(flush=self.is_done)
        self.tap.close()
        self.payloads.close()
        self.watch.close()  # until here it ends an orphan that hangs
        if self.is_done:
            self.enter(Phase.ENDED)
        if self.runs is not None:
            self.runs.close()
        self.page.close()

    def decode(self, item: Encoded) -> Message:
        """Read back a message that this replica has encoded and nobody has finished yet.

        DecodeError: its payload is gone.
        """
        body, places, payloads = join([item])
        if isinstance(item, Shared):
            places, payloads = (0,), [self.payloads.copy(item.reference)]
        return self.codec.decode(body, places, payloads)[0]

    def _is_alive(self, other: ReplicaName) -> bool:
        return self._directory is None or owner(self._directory.lock(other)) is not None

    def away(self) -> list[ReplicaName]:
        """Return the replicas that the supervisor says are away for long."""
        return [] if self._directory is None else read_away(self._directory)

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
            self.page.enter(phase, int(self.clock.monotonic() * 1e9))

    def note_waiting(self, why: str = "") -> bool:
        """Note that the stage's code waits, and for what; return True if it should stop."""
        self.page.add("waits", 1)
        if why:
            self.page.say_waiting(why, self.now_ns())
        return self.signals.asked

    def serve(self, made: object) -> None:
        """Have the stage's object say here that it waits, and get shared memory from here."""
        if isinstance(made, WaitingStage):
            made._on_waiting = self.note_waiting
        if isinstance(made, AllocatingStage):
            made._on_allocate = self.payloads.allocate

    def begin_batch(self, batch: Batch) -> None:
        """Mark on the status page that the stage's code works on the messages of `batch` now.

        Which one it is goes into `hand_sequence` and, for parts of one, `hand_part`: one word
        for each message, and no look at the clock.
        """
        self.page.take(self._places.get(batch.source, -1), batch.epoch, batch.base)

    def _current_sequence(self) -> int:
        """Return the sequence of the message in hand; -1 for a Start or Stop."""
        sequence: int = self.hand_sequence[0]
        return -1 if sequence == NO_SEQUENCE else sequence

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
        """Tell the supervisor, or systemd, that this process is ready."""
        if self.state is not None:
            tune_memory()  # the process is the stage's own
        self.history.note("ready")
        self.page.set("ready_since_ns", self.now_ns())
        self.notifier.ready(status)
        self.tell("ready: %s", status)

    def tell(self, words: str, *values: object) -> None:
        """Log what this stage has come to."""
        _log.info(words, *values)

    def report_stopping(self) -> None:
        """Tell the supervisor, or systemd, that this process is going to end."""
        self.enter(Phase.DRAIN)
        self.history.note("drains")
        self.notifier.stopping()
        self.tell("draining")

    def note(self, record: BackRecord) -> None:
        """Log what operators should know of a record from below."""
        if isinstance(record, Refuse):
            _log.error("%s.%d refuses: %s", record.stage, record.replica, record.reason)
        elif isinstance(record, Hello):
            name = ReplicaName(record.stage, record.replica)
            if self._lives.get(name) != record.incarnation:
                self._lives[name] = record.incarnation
                self.tell("%s connected", name)
