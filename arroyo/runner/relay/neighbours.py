"""`Neighbours`: what a replica says to the stages above and below, and hears of them."""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.codec import Ack, Credit, Hello
from arroyo.identifiers import ReplicaName
from arroyo.links.link_events import (
    BackRecordReceived,
    LinkBroken,
    SenderConnected,
    SubscriptionConfirmed,
)
from arroyo.protocol.receiving.delayed_replies import DelayedReplies
from arroyo.protocol.values.actions import Action, Reply
from arroyo.runner.process.stage_context import StageContext

from .role import Machine, Role


class Neighbours:
    """Carries out what the state machine says, and tells it what comes over the links.

    Credits and acknowledgements wait for each other (PROTOCOL 14). Nobody hears Hello from a stage
    that could still miss something, as one of its subscriptions is not confirmed.
    """

    def __init__(self, replica: StageContext, machine: Machine, role: Role) -> None:
        self.replies = DelayedReplies()
        """Credits and acknowledgements that have not left."""
        self._replica = replica
        self._links = replica.links
        self._machine = machine
        self._role = role
        self._unconfirmed = set(replica.chain.subscriptions(replica.name.stage))

    def perform(self, actions: Iterable[Action]) -> None:
        """Carry actions out, in order."""
        for action in self._role.carry_out(actions):
            if type(action) is Reply:
                if isinstance(action.record, Credit | Ack):
                    self.replies.put(action.to, action.record, self._replica.clock.monotonic())
                    continue
                if self._unconfirmed and isinstance(action.record, Hello):
                    continue
            if self._replica.tap.is_open:
                self._replica.tap.send(action)
            self._links.perform((action,))

    def send_replies(self) -> bool:
        """Say to those above what is taken and finished; return False if there was nothing."""
        replies = self.replies.take()
        self._links.perform(replies)
        return bool(replies)

    def hear_those_below(self, now: float) -> None:
        """Take what has come, but for data."""
        for event in self._links.poll(0.0, deaf=True):
            self.take(event, now)

    def take(self, event: object, now: float) -> None:
        """Take anything that the links report but data."""
        if isinstance(event, BackRecordReceived):
            self._replica.note(event.record)
            self.perform(self._machine.back(event.record, now))
        elif isinstance(event, LinkBroken):
            self.perform(self._machine.disconnected(event.replica, event.link))
        elif isinstance(event, SenderConnected) and not self._replica.signals.asked:
            self.perform(self._machine.receiver.greet(event.replica))
        elif isinstance(event, SubscriptionConfirmed):
            self._confirm(event.replica)

    def _confirm(self, above: ReplicaName) -> None:
        """A subscription is confirmed; after the last one, nothing that is published is missed."""
        if above not in self._unconfirmed:
            self.perform(self._machine.receiver.greet(above))
            return
        self._unconfirmed.discard(above)
        if not self._unconfirmed:
            self.perform(self._machine.receiver.greet_all())
