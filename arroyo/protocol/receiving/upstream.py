"""`Upstream`: all replicas above one, and what is said to them. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from arroyo.codec import (
    PROTOCOL_VERSION,
    Ack,
    Batch,
    Bye,
    Credit,
    End,
    Hello,
    Lost,
    Refuse,
    Suspect,
)
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Emit, Reply
from arroyo.protocol.values.history import History


class Upstream:
    """Everything above one replica.

    `senders`: every replica above that sends to it, and whether by pub-sub.
    `sources`: every replica above, near or far, that may have a ledger: listeners and operators.
    `sticky`: whether what comes again has to come to the replica that knows it. PROTOCOL 52.
    `suspect`: the message that the life before this one has died of, if there is one.
    """

    def __init__(
        self,
        name: ReplicaName,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        *,
        sticky: bool = False,
        suspect: Suspect | None = None,
        emit: Emit,
        history: History,
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.senders = {str(above): pub_sub for above, pub_sub in senders.items()}
        self.sticky = sticky
        self.suspect = suspect
        self.message_s = 0.0
        """How long one message has taken lately; credits tell."""
        self._neighbours = {str(above): above for above in senders}
        self._crediting = {str(above): above for above, pub_sub in senders.items() if not pub_sub}
        self._sources = {str(source): source for source in sources}
        self._emit = emit
        self._history = history

    def has_link_from(self, name: ReplicaName) -> bool:
        """Whether a replica sends to this one by push-pull."""
        return str(name) in self._crediting

    # Coming and going

    def greet_all(self) -> None:
        """Say Hello to every replica above that has to know of this one. PROTOCOL 1."""
        for above in {**self._neighbours, **self._sources}.values():
            self.greet(above)

    def greet(self, above: ReplicaName) -> None:
        """Say Hello to a replica above, which may have come back and know none below."""
        if self.suspect is not None and self.suspect.source == str(above):
            # PROTOCOL 42: before the Hello, which has the source send again what this life lacks.
            self._emit(Reply(above, self.suspect))
        self.answer(above)

    def answer(self, above: ReplicaName) -> None:
        """Say Hello to a neighbour that has opened a link, or has to tell a Start again."""
        hello = Hello(
            PROTOCOL_VERSION, *self.name, incarnation=self.incarnation, sticky=self.sticky
        )
        self._emit(Reply(above, hello))

    def refuse(self, above: ReplicaName, version: int) -> None:
        """PROTOCOL 4: answer a neighbour that speaks another version."""
        reason = (
            f"{above} speaks version {version} of the link protocol, "
            f"{self.name} version {PROTOCOL_VERSION}: run the same release on both sides"
        )
        self._history.note("refuses {}, of protocol version {}", above, version)
        self._emit(Reply(above, Refuse(*self.name, PROTOCOL_VERSION, reason)))

    def leave(self, above: ReplicaName) -> None:
        """Ask a neighbour to send no more."""
        self._emit(Reply(above, Bye(*self.name, incarnation=self.incarnation)))

    @property
    def crediting(self) -> Iterable[ReplicaName]:
        """The replicas that send by push-pull."""
        return self._crediting.values()

    # What came, or did not

    def reject(self, record: Batch | End) -> None:
        """PROTOCOL 20: have the sender make a new link; it tells the sources what that means."""
        self._history.note("rejects what {} sent on link {}", record.sender, record.link)
        above = self._crediting.get(record.sender)
        if above is not None:
            self._emit(Reply(above, Lost(*self.name, record.link)))

    def ask_for_start(self, sender: str) -> None:
        """PROTOCOL 35: a Hello has a publisher tell the open Starts again."""
        self.answer(self._neighbours[sender])

    def credit(self, batch: Batch) -> None:
        """PROTOCOL 14: this replica is done with a batch."""
        above = self._crediting.get(batch.sender)
        if above is not None:
            credit = Credit(*self.name, batch.link, batch.number + 1, self.message_s)
            self._emit(Reply(above, credit))

    def report_loss(self) -> None:
        """Have all sources send again what is not finished."""
        self._history.note("has the sources send again")
        for source in self._sources.values():
            self._emit(Reply(source, Lost(*self.name)))

    def acknowledge(self, ack: Ack) -> None:
        """Tell a source what is finished, or held."""
        if ack.source in self._sources:
            self._emit(Reply(self._sources[ack.source], ack))
