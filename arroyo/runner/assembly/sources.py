"""Makes the state machine of a listener's replica. PURE."""

from __future__ import annotations

from collections.abc import Callable

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.recovery.journal import JournalState
from arroyo.protocol.recovery.replayable import Replayable
from arroyo.protocol.recovery.volatile import Volatile
from arroyo.protocol.source.input import MakeStop
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.loss_policy import CountAsLost, Redeliver
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.run_sequencer import RunSequencer
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.history import History

from .topology import Surroundings


def make_source(
    chain: Chain,
    name: ReplicaName,
    *,
    epoch: int,
    incarnation: int,
    new_run: Callable[[], str],
    make_early_stop: Callable[[str], MakeStop],
    memory: JournalState | None = None,
    history: History | None = None,
) -> Source:
    """Make the state machine of a listener's replica.

    `memory`: what is noted of an input that can be read again; None: it can't be.
    """
    around = Surroundings(chain, name, incarnation, history)
    context = around.sender_context()
    ledger = Ledger(context.terminals, 0 if memory is None else memory.frontier)
    sequencer = RunSequencer(
        context, ledger, epoch=epoch, new_run=new_run, make_early_stop=make_early_stop
    )
    best_effort = around.stage.delivery == "best-effort"
    recovery = (
        Volatile(context, ledger, epoch=epoch)
        if memory is None
        else Replayable(context, ledger, memory)
    )
    sender = ReliableSender(
        context,
        sequencer,
        ledger,
        loss=CountAsLost() if best_effort else Redeliver(),
        recovery=recovery,
    )
    return Source(sender, recovery, around.history, around.outbox)
