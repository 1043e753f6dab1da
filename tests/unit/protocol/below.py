"""What is around a machine under test: one replica of a stage `b` below, or as said."""

from __future__ import annotations

import itertools

from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.receiver import Receiver
from arroyo.protocol.receiving.upstream import Upstream
from arroyo.protocol.relay.acknowledger import Acknowledger
from arroyo.protocol.relay.relay import Relay
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.loss_policy import Redeliver
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.run_sequencer import RunSequencer
from arroyo.protocol.source.sender_context import SenderContext
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.history import History
from arroyo.protocol.values.paths import Terminal


def make_context(name, downstream, outbox, *, incarnation=1, ordered=False):
    """What a sender knows of its chain, with one path to one replica of `b`."""
    terminals = [Terminal("b", 1)]
    return SenderContext(name, incarnation, terminals, downstream, ordered, outbox.emit, History())


def make_downstream(
    name, outbox, *, stage="b", incarnation=1, links=1, push_pull=True, pub_sub=False, expected=()
):
    """All stages below `name`; what is to be done about them goes into the outbox."""
    new_link = itertools.count(links).__next__
    dispatcher = Dispatcher(
        name,
        stage,
        1,
        edge=0,
        dispatch="balanced",
        new_link=new_link,
        emit=outbox.emit,
        history=History(),
    )
    return Downstream(
        incarnation,
        [(dispatcher, range(1))] if push_pull else [],
        Publication(name, lambda: 7, outbox.emit) if pub_sub else None,
        [ReplicaName(*each) for each in expected],
        history=History(),
    )


def make_sender(context, *, epoch=1, first=0, loss=None, recover=None, new_run, base=None):
    """A sender, and what it does about its own death; `recover` makes that."""
    ledger = Ledger(context.terminals, first)
    recovery = RecoveryPolicy() if recover is None else recover(context, ledger)
    sequencer = RunSequencer(
        context,
        ledger,
        epoch=epoch,
        new_run=new_run,
        make_early_stop=lambda reason: lambda totals: (reason, totals.as_data()),
        base=base,
    )
    loss = Redeliver() if loss is None else loss
    return ReliableSender(context, sequencer, ledger, loss=loss, recovery=recovery), recovery


def make_source(context, outbox, **options):
    """A source with such a sender."""
    sender, recovery = make_sender(context, **options)
    return Source(sender, recovery, context.history, outbox)


def make_receiver(
    name, senders, sources, outbox, *, incarnation=1, known=None, ordered=False, **options
):
    """What comes to a replica from above."""
    history = History()
    upstream = Upstream(
        name, incarnation, senders, sources, emit=outbox.emit, history=history, **options
    )
    return Receiver(upstream, known, ordered=ordered, outbox=outbox, history=history)


def make_relay(name, senders, sources, downstream, outbox, *, flushes=False, **options):
    """A relay; where nothing below is fed by push-pull it ends paths."""
    acknowledger = None if downstream.reliable else Acknowledger(name, flushes=flushes)
    known = None if acknowledger is None else acknowledger.known
    receiver = make_receiver(name, senders, sources, outbox, known=known, **options)
    return Relay(receiver, downstream, acknowledger, outbox)
