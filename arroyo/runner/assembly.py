"""From the chain's graph to the state machines of one replica. PURE.

The machines of a role are imported where they are made: every process starts sooner for what it
need not load.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from arroyo.codec import Suspect
from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.dispatcher import Dispatch, Dispatcher
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Emit, Outbox
from arroyo.protocol.values.paths import PathTable

if TYPE_CHECKING:
    from arroyo.protocol.fold.fold import Fold
    from arroyo.protocol.fold.output_run import OutputRun
    from arroyo.protocol.fold.outputs import FoldOutputs
    from arroyo.protocol.fold.state import FoldState, OpenOutputs
    from arroyo.protocol.recovery.journal import JournalState
    from arroyo.protocol.recovery.replayable import ReplayableSource
    from arroyo.protocol.recovery.volatile import VolatileSource
    from arroyo.protocol.relay.relay import Relay
    from arroyo.protocol.source.input import MakeStop
    from arroyo.protocol.source.reliable_sender import Surroundings

EPOCHS_OF_A_LIFE = 2**32
"""One life of a fold has fewer runs than this."""


def path_table(chain: Chain) -> PathTable:
    """Number the paths of a chain."""
    links = {
        name: [below.name for below, link in chain.downstream(name) if link == "push-pull"]
        for name in chain.stages
    }
    return PathTable(links, {name: stage.replicas for name, stage in chain.stages.items()})


def make_source(
    chain: Chain,
    name: ReplicaName,
    *,
    epoch: int,
    incarnation: int,
    new_run: Callable[[], str],
    make_early_stop: Callable[[str], MakeStop],
    history: History | None = None,
) -> VolatileSource:
    """Make the state machine of a listener's replica whose input can't be read again."""
    from arroyo.protocol.recovery.volatile import VolatileSender, VolatileSource
    from arroyo.protocol.source.loss import CountAsLost, Redeliver

    outbox, history = Outbox(), History() if history is None else history
    surroundings = _surroundings(chain, name, incarnation, outbox.emit, history)
    best_effort = chain.stages[name.stage].delivery == "best-effort"
    sender = VolatileSender(
        surroundings,
        epoch=epoch,
        loss=CountAsLost() if best_effort else Redeliver(),
        new_run=new_run,
        make_early_stop=make_early_stop,
    )
    return VolatileSource(sender, surroundings.downstream, outbox)


def make_replayable_source(
    chain: Chain,
    name: ReplicaName,
    *,
    memory: JournalState,
    incarnation: int,
    new_run: Callable[[], str],
    make_early_stop: Callable[[str], MakeStop],
    history: History | None = None,
) -> ReplayableSource:
    """Make the state machine of a listener's replica whose input can be read again."""
    from arroyo.protocol.recovery.replayable import ReplayableSender, ReplayableSource

    outbox, history = Outbox(), History() if history is None else history
    surroundings = _surroundings(chain, name, incarnation, outbox.emit, history)
    sender = ReplayableSender(
        surroundings, memory=memory, new_run=new_run, make_early_stop=make_early_stop
    )
    return ReplayableSource(sender, surroundings.downstream, outbox)


def _surroundings(
    chain: Chain, name: ReplicaName, incarnation: int, emit: Emit, history: History
) -> Surroundings:
    """Say what a sender has to know of the chain below it."""
    from arroyo.protocol.source.reliable_sender import Surroundings

    return Surroundings(
        name,
        incarnation,
        path_table(chain).terminals(name.stage),
        _downstream(chain, name, incarnation, emit, history),
        any(stage.order == "source" for stage in chain.below(name.stage)),
        emit,
        history,
    )


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
    from arroyo.protocol.relay.relay import Relay

    outbox, history = Outbox(), History() if history is None else history
    return Relay(
        name,
        incarnation=incarnation,
        senders=_senders(chain, name),
        sources=_sources(chain, name),
        downstream=_downstream(chain, name, incarnation, outbox.emit, history),
        ordered=chain.stages[name.stage].order == "source",
        outbox=outbox,
        history=history,
        flushes=flushes,
        suspect=suspect,
    )


def make_boundary(
    chain: Chain,
    name: ReplicaName,
    *,
    incarnation: int,
    holds: bool,
    memory: FoldState,
    make_early_stop: Callable[[str], MakeStop],
    suspect: Suspect | None = None,
    history: History | None = None,
) -> Fold:
    """Make the state machine of a replica of an operator that folds.

    Parameters
    ----------
    holds
        Whether inputs are held until an output covers them: see `Operator.max_inputs`.
    memory
        What the life before left.
    """
    from arroyo.protocol.fold.fold import Fold
    from arroyo.protocol.fold.output_run import OutputRun
    from arroyo.protocol.fold.outputs import FoldOutputs
    from arroyo.protocol.fold.pending_inputs import PendingInputs

    stage = chain.stages[name.stage]
    outbox, history = Outbox(), History() if history is None else history
    surroundings = _surroundings(chain, name, incarnation, outbox.emit, history)
    # Receivers know by its epochs which life of a fold is the later one, though a clock steps back.
    first_epoch = max(memory.next_epoch, incarnation)
    new_epoch = itertools.count(first_epoch).__next__

    def make_outputs(emit: Emit) -> FoldOutputs:
        def make_run(run: str, former: OpenOutputs | None) -> OutputRun:
            return OutputRun(
                surroundings._replace(emit=emit),
                epoch=new_epoch(),
                run=run,
                former=former,
                make_early_stop=make_early_stop,
            )

        return FoldOutputs(
            downstream=surroundings.downstream,
            make_run=make_run,
            former=memory.outputs,
            listeners={
                str(each)
                for above in chain.above(name.stage)
                if above.role == "listener"
                for each in above.names
            },
        )

    paths = path_table(chain).count(name.stage)
    holdings = PendingInputs(name, incarnation, paths=paths, replicas=stage.replicas, holds=holds)
    holdings.recall(memory.inputs)
    return Fold(
        name,
        incarnation=incarnation,
        senders=_senders(chain, name),
        sources=_sources(chain, name),
        holdings=holdings,
        make_outputs=make_outputs,
        next_epoch=first_epoch + EPOCHS_OF_A_LIFE,
        ordered=stage.order == "source",
        outbox=outbox,
        history=history,
        suspect=suspect,
    )


def _senders(chain: Chain, name: ReplicaName) -> dict[ReplicaName, bool]:
    """Return every replica that sends to this one, and whether by pub-sub."""
    return {
        above: source.link == "pub-sub"
        for source in chain.stages[name.stage].inputs
        for above in chain.stages[source.stage].names
    }


def _sources(chain: Chain, name: ReplicaName) -> list[ReplicaName]:
    """Return every replica above that may have a ledger.

    An operator may turn out to fold, which makes it a source.
    """
    return [each for above in chain.above(name.stage) for each in above.names]


def link_numbers(incarnation: int) -> Callable[[], int]:
    """Count up from the incarnation: a later life begins beyond what this one can reach."""
    return itertools.count(incarnation).__next__


def key_field(chain: Chain, name: str) -> str | None:
    """Return the metadata field that a stage's outputs are dispatched by, if any."""
    fields = {
        below.dispatch_key
        for below, link in chain.downstream(name)
        if link == "push-pull" and below.dispatch_key is not None
    }
    return next(iter(fields), None)


def _downstream(
    chain: Chain, name: ReplicaName, incarnation: int, emit: Emit, history: History
) -> Downstream:
    """Say what a replica has to know of the chain below it."""
    paths, new_link = path_table(chain), link_numbers(incarnation)
    routes, publication = [], None
    for below, link in chain.downstream(name.stage):
        if link == "push-pull":
            edge = paths.edge(name.stage, below.name)
            dispatcher = Dispatcher(
                name,
                below.name,
                below.replicas,
                edge=edge,
                dispatch=_dispatch(below),
                new_link=new_link,
                emit=emit,
                history=history,
            )
            routes.append((dispatcher, range(edge, edge + paths.count(below.name))))
        elif publication is None:
            publication = Publication(name, new_link, emit)
    expected = [each for stage in chain.below(name.stage) for each in stage.names]
    return Downstream(incarnation, routes, publication, expected, history=history)


def _dispatch(stage: Stage) -> Dispatch:
    if stage.dispatch_key is not None:
        return "key"
    # A replicated sink must get a message that comes again where it is known.
    return "sequence" if stage.role == "publisher" and stage.replicas > 1 else "balanced"
