"""Makes the state machine of an operator's or publisher's replica. PURE."""

from __future__ import annotations

from arroyo.codec import Suspect
from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.relay.acknowledger import Acknowledger
from arroyo.protocol.relay.relay import Relay
from arroyo.protocol.values.history import History

from .topology import Surroundings


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
    around = Surroundings(chain, name, incarnation, history)
    downstream = around.downstream()
    ends_here = not downstream.reliable
    acknowledger = Acknowledger(name, flushes=flushes) if ends_here else None
    receiver = around.receiver(None if acknowledger is None else acknowledger.known, suspect)
    return Relay(receiver, downstream, acknowledger, around.outbox)
