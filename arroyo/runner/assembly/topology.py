"""What a replica has around it by the chain's graph: paths, the stages above, those below. PURE."""

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
from arroyo.protocol.values.actions import Emit
from arroyo.protocol.values.history import History
from arroyo.protocol.values.paths import PathTable

if TYPE_CHECKING:
    from arroyo.protocol.receiving.upstream import Upstream
    from arroyo.protocol.source.sender_context import SenderContext


def path_table(chain: Chain) -> PathTable:
    """Number the paths of a chain."""
    links = {
        name: [below.name for below, link in chain.downstream(name) if link == "push-pull"]
        for name in chain.stages
    }
    return PathTable(links, {name: stage.replicas for name, stage in chain.stages.items()})


def sender_context_of(
    chain: Chain, name: ReplicaName, incarnation: int, emit: Emit, history: History
) -> SenderContext:
    """Say what a sender has to know of the chain below it."""
    from arroyo.protocol.source.sender_context import SenderContext

    return SenderContext(
        name,
        incarnation,
        path_table(chain).terminals(name.stage),
        downstream_of(chain, name, incarnation, emit, history),
        any(stage.order == "source" for stage in chain.below(name.stage)),
        emit,
        history,
    )


def upstream_of(
    chain: Chain,
    name: ReplicaName,
    incarnation: int,
    emit: Emit,
    history: History,
    *,
    suspect: Suspect | None,
    sticky: bool = False,
) -> Upstream:
    """Say what a replica has to know of the chain above it."""
    from arroyo.protocol.receiving.upstream import Upstream

    senders = {above: link == "pub-sub" for above, link in chain.senders(name.stage).items()}
    # Every operator may turn out to fold, which makes it a source.
    sources = [each for above in chain.above(name.stage) for each in above.names]
    return Upstream(
        name,
        incarnation,
        senders,
        sources,
        sticky=sticky,
        suspect=suspect,
        emit=emit,
        history=history,
    )


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


def downstream_of(
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
