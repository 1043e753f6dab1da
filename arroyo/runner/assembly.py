"""From the chain's graph to the state machines of one replica. PURE.

The machines of a role are imported where they are made: every process starts sooner for what it
need not load.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arroyo.codec import Suspect
from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.dispatcher import Dispatch, Dispatcher
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.values.paths import PathTable

if TYPE_CHECKING:
    from arroyo.protocol.fold.fold import Fold
    from arroyo.protocol.fold.output_run import OutputRun
    from arroyo.protocol.fold.state import FoldState, OpenOutputs
    from arroyo.protocol.recovery.journal import JournalState
    from arroyo.protocol.recovery.replayable import ReplayableSource
    from arroyo.protocol.recovery.volatile import VolatileSource
    from arroyo.protocol.relay.relay import Relay
    from arroyo.protocol.source.input import MakeStop

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
) -> VolatileSource:
    """Make the state machine of a listener's replica whose input can't be read again."""
    from arroyo.protocol.recovery.volatile import VolatileSource
    from arroyo.protocol.source.best_effort import BestEffortSource

    best_effort = chain.stages[name.stage].delivery == "best-effort"
    kind = BestEffortSource if best_effort else VolatileSource
    return kind(
        name,
        epoch=epoch,
        new_run=new_run,
        make_early_stop=make_early_stop,
        **_surroundings(chain, name, incarnation),
    )


def make_replayable_source(
    chain: Chain,
    name: ReplicaName,
    *,
    memory: JournalState,
    incarnation: int,
    new_run: Callable[[], str],
    make_early_stop: Callable[[str], MakeStop],
) -> ReplayableSource:
    """Make the state machine of a listener's replica whose input can be read again."""
    from arroyo.protocol.recovery.replayable import ReplayableSource

    return ReplayableSource(
        name,
        memory=memory,
        new_run=new_run,
        make_early_stop=make_early_stop,
        **_surroundings(chain, name, incarnation),
    )


def _surroundings(chain: Chain, name: ReplicaName, incarnation: int) -> dict[str, Any]:
    """Say what a source has to know of the chain below it."""
    paths = path_table(chain)
    new_link = link_numbers(incarnation)
    below = chain.below(name.stage)
    return {
        "incarnation": incarnation,
        "terminals": paths.terminals(name.stage),
        "outlets": [
            (outlet, range(outlet.edge, outlet.edge + paths.count(outlet.stage)))
            for outlet in _outlets(chain, name, paths, new_link)
        ],
        "below": [each for stage in below for each in stage.names],
        "publication": _publication(chain, name, new_link),
        "ordered": any(stage.order == "source" for stage in below),
    }


def make_relay(
    chain: Chain,
    name: ReplicaName,
    *,
    incarnation: int,
    flushes: bool,
    suspect: Suspect | None = None,
) -> Relay:
    """Make the state machine of an operator's or publisher's replica."""
    from arroyo.protocol.relay.relay import Relay

    new_link = link_numbers(incarnation)
    return Relay(
        name,
        incarnation=incarnation,
        outlets=list(_outlets(chain, name, path_table(chain), new_link)),
        publication=_publication(chain, name, new_link),
        flushes=flushes,
        suspect=suspect,
        **_inputs(chain, name),
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
    surroundings = _surroundings(chain, name, incarnation)
    outlets, publication = surroundings["outlets"], surroundings["publication"]
    del surroundings["below"]  # nobody is waited for: what goes to them waits in the outlets
    # Receivers know by its epochs which life of a fold is the later one, though a clock steps back.
    first_epoch = max(memory.next_epoch, incarnation)
    new_epoch = itertools.count(first_epoch).__next__

    def make_source(run: str, former: OpenOutputs | None) -> OutputRun:
        return OutputRun(
            name,
            run=run,
            former=former,
            epoch=new_epoch(),
            below=(),
            make_early_stop=make_early_stop,
            **surroundings,
        )

    paths = path_table(chain).count(name.stage)
    holdings = PendingInputs(name, incarnation, paths=paths, replicas=stage.replicas, holds=holds)
    holdings.recall(memory.inputs)
    outputs = FoldOutputs(
        incarnation=incarnation,
        outlets=[outlet for outlet, _ in outlets],
        publication=publication,
        make_source=make_source,
        former=memory.outputs,
        listeners={
            str(each)
            for above in chain.above(name.stage)
            if above.role == "listener"
            for each in above.names
        },
    )
    return Fold(
        name,
        incarnation=incarnation,
        holdings=holdings,
        outputs=outputs,
        next_epoch=first_epoch + EPOCHS_OF_A_LIFE,
        suspect=suspect,
        **_inputs(chain, name),
    )


def _inputs(chain: Chain, name: ReplicaName) -> dict[str, Any]:
    """Say what a receiver has to know of the chain above it."""
    stage = chain.stages[name.stage]
    return {
        "senders": {
            above: source.link == "pub-sub"
            for source in stage.inputs
            for above in chain.stages[source.stage].names
        },
        # An operator may turn out to fold, which makes it a source.
        "sources": [each for above in chain.above(name.stage) for each in above.names],
        "ordered": stage.order == "source",
    }


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


def _outlets(
    chain: Chain, name: ReplicaName, paths: PathTable, new_link: Callable[[], int]
) -> list[Dispatcher]:
    return [
        Dispatcher(
            name,
            below.name,
            below.replicas,
            edge=paths.edge(name.stage, below.name),
            dispatch=_dispatch(below),
            new_link=new_link,
        )
        for below, link in chain.downstream(name.stage)
        if link == "push-pull"
    ]


def _dispatch(stage: Stage) -> Dispatch:
    if stage.dispatch_key is not None:
        return "key"
    # A replicated sink must get a message that comes again where it is known.
    return "sequence" if stage.role == "publisher" and stage.replicas > 1 else "balanced"


def _publication(
    chain: Chain, name: ReplicaName, new_link: Callable[[], int]
) -> Publication | None:
    if any(link == "pub-sub" for _, link in chain.downstream(name.stage)):
        return Publication(name, new_link)
    return None
