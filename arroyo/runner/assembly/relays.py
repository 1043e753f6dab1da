"""Makes the state machine of an operator's or publisher's replica. PURE."""

from __future__ import annotations

from arroyo.codec import Suspect
from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.receiver import Receiver
from arroyo.protocol.relay.acknowledger import Acknowledger
from arroyo.protocol.relay.relay import Relay
from arroyo.protocol.values.actions import Outbox
from arroyo.protocol.values.history import History

from .topology import downstream_of, upstream_of


def make_relay(
    chain: Chain,
    name: ReplicaName,
    *,
    incarnation: int,
    flushes: bool,
    suspect: Suspect | None = None,
    history: History | None = None,
) -> Relay:
    """Make the state machine of an operator's or publisher's replica."""
    outbox, history = Outbox(), History() if history is None else history
    downstream = downstream_of(chain, name, incarnation, outbox.emit, history)
    ends_here = not downstream.reliable
    acknowledger = Acknowledger(name, flushes=flushes) if ends_here else None
    known = None if acknowledger is None else acknowledger.known
    upstream = upstream_of(chain, name, incarnation, outbox.emit, history, suspect=suspect)
    ordered = chain.stages[name.stage].order == "source"
    receiver = Receiver(upstream, known, ordered=ordered, outbox=outbox, history=history)
    return Relay(receiver, downstream, acknowledger, outbox)
