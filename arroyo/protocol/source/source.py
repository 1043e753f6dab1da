"""`Source`: the protocol of a listener's replica. PURE.

What the listener handed over goes in (`accept`), records of the stages below come back (`record`),
time passes (`tick`); each call returns what the shell has to do, in order. A source has a
`RunSender`, which says what leaves and keeps it until it is finished, and a `Downstream`, which
knows the links.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from arroyo.codec import Ack, BackRecord, Bye, Credit, Hello, Lost, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.downstream import Downstream, Loss
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Outbox

from .input import InputBatch
from .ledger import Ledger
from .run_sender import RunSender

SenderT = TypeVar("SenderT", bound=RunSender)


class Source(Generic[SenderT]):
    """One listener replica.

    Parameters
    ----------
    sender
        For what it sends.
    downstream
        All stages below.
    outbox
        Where both say what is to be done.
    """

    def __init__(self, sender: SenderT, downstream: Downstream, outbox: Outbox) -> None:
        self._sender = sender
        self._history = sender.history
        self._downstream = downstream
        self._outbox = outbox

    # What the shell looks at

    @property
    def history(self) -> History:
        """What it did last."""
        return self._history

    @property
    def epoch(self) -> int:
        """In which its sequences count."""
        return self._sender.epoch

    @property
    def ledger(self) -> Ledger:
        """What is sent and not finished."""
        return self._sender.ledger

    @property
    def ready(self) -> bool:
        """Whether every replica below is there. PROTOCOL 5."""
        return self._downstream.ready

    @property
    def awaited(self) -> Sequence[ReplicaName]:
        """Replicas below that have not said Hello."""
        return self._downstream.awaited

    @property
    def blocked(self) -> bool:
        """Whether it can't take anything more for now."""
        return self._sender.blocked

    @property
    def open_runs(self) -> frozenset[str] | None:
        """Name of the run that has a Start and no Stop yet, if any; None: one is about to end."""
        return self._sender.open_runs

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        return self._sender.deadline

    @property
    def ended(self) -> bool:
        """Whether all is finished and End has been sent."""
        return self._sender.through and self._downstream.ended

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

    def accept(self, intake: InputBatch, now: float) -> list[Action]:
        """Take what the listener handed over."""
        self._history.now = now
        self._sender.accept(intake, now)
        return self._outbox.take()

    def finish(self, now: float, *, final: bool = True) -> list[Action]:
        """The listener has ended: close its run, and end when everything is finished.

        `final`: it has finished for good; else it only leaves, and the stages below stay.
        """
        self._history.now = now
        self._sender.finish(now, final=final)
        return self._outbox.take()

    def record(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self._history.now = now
        if isinstance(record, Ack):
            self._sender.acknowledge(record, now)
        elif isinstance(record, Suspect):
            self._sender.suspect(record)
        elif isinstance(record, Hello | Credit | Bye | Lost):
            if isinstance(record, Hello):
                self._sender.hello(record)
            self._note(self._downstream.record(record), now)
            self._sender.work(now)
        return self._outbox.take()

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> list[Action]:
        """The link to a neighbour below broke."""
        self._history.now = now
        self._note(self._downstream.disconnected(replica, link), now)
        return self._outbox.take()

    def _note(self, loss: Loss, now: float) -> None:
        if loss is not Loss.NONE:
            self._sender.note_loss(now)

    def quarantined(self, suspect: Suspect, *, kept: bool) -> list[Action]:
        """`PutInQuarantine` is done, or the message can't be kept."""
        self._sender.quarantined(suspect.sequence, kept=kept)
        return self._outbox.take()

    def tick(self, now: float) -> list[Action]:
        """Time has passed: send again what is due."""
        self._history.now = now
        self._sender.tick(now)
        return self._outbox.take()
