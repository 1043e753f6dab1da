"""`Downstream`: all stages below one replica: what is sent to them, what they say of links. PURE.

Sources, relays and folds route records from below through it (`record`). It knows links and lives;
it reports signs of loss, and its owner decides what to do about them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from operator import attrgetter

from arroyo.codec import PROTOCOL_VERSION, BackRecord, Bye, Credit, Hello, Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.history import History

from .dispatcher import Dispatcher
from .publication import Publication

_is_blocked = attrgetter("blocked")


class LossSign(IntEnum):
    """Whether something may have been lost below, and where. PROTOCOL 20."""

    NONE = 0
    """False as a condition."""
    FAR = 1
    """Further below: only those that keep what they have sent have to act."""
    NEAR = 2
    """On a link from here: those above that keep messages have to be told."""


class Downstream:
    """Everything below one replica.

    Parameters
    ----------
    routes
        One dispatcher for each stage below that is fed by push-pull, with the paths behind it.
    expected
        Every replica below, near or far; `ready` when all of them have said Hello.
    """

    def __init__(
        self,
        incarnation: int,
        routes: Sequence[tuple[Dispatcher, range]] = (),
        publication: Publication | None = None,
        expected: Collection[ReplicaName] = (),
        *,
        history: History,
    ) -> None:
        self.routes = routes
        self._incarnation = incarnation
        self._history = history
        self._dispatchers = {dispatcher.stage: dispatcher for dispatcher, _ in routes}
        self._publication = publication
        self.reliable = bool(routes)
        """Whether any stage below is fed by push-pull, so that acknowledgements come."""
        self.empty = not routes and publication is None
        """Whether nothing is below at all."""
        self._awaited = set(expected)
        self._lives: dict[ReplicaName, int] = {}
        self._broken: set[ReplicaName] = set()
        """Neighbours whose loss was reported when their link broke, and that have not come back."""
        self._told_end = False

    # What is looked at

    @property
    def blocked(self) -> bool:
        """Whether something waits for credit, or for a replica to come up."""
        return any(map(_is_blocked, self._dispatchers.values()))

    @property
    def in_flight(self) -> int:
        """Messages sent and not credited."""
        return sum(each.in_flight for each in self._dispatchers.values())

    @property
    def ended(self) -> bool:
        """Whether End has gone to all replicas that are there."""
        return all(each.ended for each in self._dispatchers.values())

    @property
    def ready(self) -> bool:
        """Whether every replica that is expected has been there. PROTOCOL 5."""
        return not self._awaited

    @property
    def lives(self) -> dict[ReplicaName, int]:
        """The incarnation of each replica below, as far as it is known."""
        return self._lives

    def excuse(self, replicas: Iterable[ReplicaName]) -> None:
        """Wait no more for these: they are away, and nobody knows for how long. PROTOCOL 5."""
        self._awaited.difference_update(replicas)

    # What goes down

    def connect(self) -> None:
        """Make the links."""
        for dispatcher in self._dispatchers.values():
            dispatcher.connect(self._incarnation)

    def send(self, batch: OutgoingBatch) -> None:
        """Send a batch to every stage below; without items, only where nothing is missed."""
        for dispatcher in self._dispatchers.values():
            dispatcher.send(batch)
        if self._publication is not None and batch.items:
            self._publication.send(batch)

    def end(self, *, final: bool) -> None:
        """Nothing more will go out: End follows what waits, for good or for this life only."""
        for dispatcher in self._dispatchers.values():
            dispatcher.end(final=final)
        if self._publication is not None and not self._told_end:
            self._told_end = True
            self._publication.end(final=final)

    # What comes up

    def record(self, record: BackRecord) -> LossSign:
        """Take a record from below; returns what may be lost by what it tells.

        Acknowledgements and suspects are for who keeps the messages.
        """
        if isinstance(record, Credit):
            dispatcher = self._dispatchers.get(record.stage)
            if dispatcher is not None:
                dispatcher.credit(record)
        elif isinstance(record, Hello):
            return self._hello(record)
        elif isinstance(record, Bye):
            dispatcher = self._dispatchers.get(record.stage)
            if dispatcher is not None:
                dispatcher.bye(record)
        elif isinstance(record, Lost):
            self._history.note("{}.{} tells of a loss", record.stage, record.replica)
            if record.link is None:
                return LossSign.FAR
            return self.disconnected(ReplicaName(record.stage, record.replica), record.link)
        return LossSign.NONE

    def disconnected(self, replica: ReplicaName, link: int) -> LossSign:
        """The link to a neighbour below broke."""
        dispatcher = self._dispatchers.get(replica.stage)
        if dispatcher is None or not dispatcher.disconnected(replica.replica, link):
            return LossSign.NONE
        self._broken.add(replica)
        return LossSign.NEAR

    def _hello(self, hello: Hello) -> LossSign:
        if hello.version != PROTOCOL_VERSION:
            return LossSign.NONE  # PROTOCOL 4: nothing goes to one that speaks another version
        name = ReplicaName(hello.stage, hello.replica)
        another_life = self._lives.get(name) not in (None, hello.incarnation)
        # One death is one loss: what was sent again for the broken link may have left only now.
        is_reported = name in self._broken
        self._broken.discard(name)
        if self._lives.get(name) != hello.incarnation:
            self._history.note("{} is there, incarnation {}", name, hello.incarnation)
        self._lives[name] = hello.incarnation
        self._awaited.discard(name)
        dispatcher = self._dispatchers.get(name.stage)
        if dispatcher is not None:
            if dispatcher.hello(hello):
                return LossSign.NEAR
        elif self._publication is not None:
            self._publication.repeat_starts()
        return LossSign.FAR if another_life and not is_reported else LossSign.NONE
