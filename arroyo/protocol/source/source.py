"""`Source`: the protocol of a listener's replica. PURE.

What the listener handed over goes in (`accept`), records of the stages below come back (`record`),
time passes (`tick`); each call returns what the shell has to do, in order. A source has a sender,
which keeps what leaves until it is finished, a policy of recovery, which knows what the lives
before have left, and a `Downstream`, which knows the links.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from arroyo.codec import BackRecord, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Outbox
from arroyo.protocol.values.history import History

from .input import InputBatch
from .recovery_policy import RecoveryPolicy
from .reliable_sender import ReliableSender

if TYPE_CHECKING:
    from arroyo.protocol.recovery.unclosed_run import UnclosedRun


class Source:
    """One listener replica."""

    def __init__(
        self, sender: ReliableSender, recovery: RecoveryPolicy, history: History, outbox: Outbox
    ) -> None:
        self.history = history
        self.epoch = sender.epoch
        self.ledger = sender.ledger
        self._sender = sender
        self._sequencer = sender.sequencer
        self._recovery = recovery
        self._downstream = sender.downstream
        self._outbox = outbox
        self._final: bool | None = None
        """Whether the listener has ended for good; None: it has not ended."""

    # What the shell looks at

    @property
    def ready(self) -> bool:
        """Whether every replica below is there. PROTOCOL 5."""
        return self._downstream.ready

    def excuse(self, replicas: Iterable[ReplicaName]) -> None:
        """Wait no more for these, before the listener starts. PROTOCOL 5."""
        self._downstream.excuse(replicas)

    @property
    def blocked(self) -> bool:
        """Whether it can't take anything more for now."""
        return self._sequencer.blocked

    @property
    def open_runs(self) -> frozenset[str] | None:
        """Name of the run that has a Start and no Stop yet, if any; None: one is about to end."""
        return self._sequencer.open_runs

    @property
    def open_places(self) -> int:
        """How many messages that were in flight in the life before have not come again."""
        return self._recovery.open_places

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        return self._sender.deadline

    @property
    def ended(self) -> bool:
        """Whether all is finished and End has been sent."""
        return self._sequencer.through and self._downstream.ended

    @property
    def redelivered(self) -> int:
        """Messages that were sent again."""
        return self._sender.redelivered

    @property
    def lost(self) -> int:
        """Messages that will not arrive."""
        return self._sender.lost

    # Events

    def connect(self) -> list[Action]:
        """Make the links."""
        self._downstream.connect()
        return self._outbox.take()

    def begin(self, now: float, unclosed: Iterable[UnclosedRun] = ()) -> list[Action]:
        """Take up what the lives before have left: what comes again, or `unclosed` runs to close.

        To be called once, when everything below is ready and before the listener hands over
        anything.
        """
        self.history.now = now
        self._recovery.begin(self._sender, unclosed, now)
        return self._work(now)

    def accept(self, intake: InputBatch, now: float) -> list[Action]:
        """Take what the listener handed over."""
        self.history.now = now
        for each in self._recovery.admit(intake):
            self._sequencer.put(each)
        return self._work(now)

    def finish(self, now: float, *, final: bool = True, resumes: bool = False) -> list[Action]:
        """The listener has ended: close its run, and end when everything is finished.

        PROTOCOL 29, 30.

        `final`: it has finished for good; else it only leaves, and the stages below stay.
        `resumes`: its input has not ended, so that its run stays open for the next life.
        """
        self.history.now = now
        self.history.note("the input has ended, for good: {}", final)
        self._final = final
        for each in () if resumes else self._recovery.end_replay():
            self._sequencer.put(each)
        self._sequencer.finish(keep_open=resumes)
        return self._work(now)

    def record(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self.history.now = now
        self._sender.record(record, now)
        if self._downstream.record(record):
            self._sender.note_loss(now)
        return self._work(now)

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> list[Action]:
        """The link to a neighbour below broke."""
        self.history.now = now
        if self._downstream.disconnected(replica, link):
            self._sender.note_loss(now)
        return self._outbox.take()

    def quarantined(self, suspect: Suspect, *, kept: bool) -> list[Action]:
        """`PutInQuarantine` is done, or the message can't be kept."""
        self._sender.quarantined(suspect.sequence, kept=kept)
        return self._outbox.take()

    def tick(self, now: float) -> list[Action]:
        """Time has passed: send again what is due."""
        self.history.now = now
        return self._work(now) if self._sender.tick(now) else []

    def _work(self, now: float) -> list[Action]:
        """Send what can be sent now; End follows when all is finished. PROTOCOL 28."""
        self._sender.work(now)
        if self._final is not None and self._sequencer.through:
            self._downstream.end(final=self._final)
        return self._outbox.take()
