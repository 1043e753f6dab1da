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
from arroyo.protocol.values.actions import Outbox
from arroyo.protocol.values.history import History
from arroyo.protocol.values.paths import PathTable

if TYPE_CHECKING:
    from arroyo.protocol.receiving.receiver import Receiver
    from arroyo.protocol.source.sender_context import SenderContext
    from arroyo.protocol.values.deduplication import Deduplication


def path_table(chain: Chain) -> PathTable:
    """Number the paths of a chain."""
    links = {
        name: [below.name for below, link in chain.downstream(name) if link == "push-pull"]
        for name in chain.stages
    }
    return PathTable(links, {name: stage.replicas for name, stage in chain.stages.items()})


class Surroundings:
    """What one replica has around it, and the outbox and history that its parts share."""

    def __init__(
        self, chain: Chain, name: ReplicaName, incarnation: int, history: History | None = None
    ) -> None:
        self.stage = chain.stages[name.stage]
        self.paths = path_table(chain)
        self.outbox = Outbox()
        self.history = History() if history is None else history
        self._chain = chain
        self._name = name
        self._incarnation = incarnation

    def sender_context(self) -> SenderContext:
        """Say what a sender has to know of the chain below it."""
        from arroyo.protocol.source.sender_context import SenderContext

        return SenderContext(
            self._name,
            self._incarnation,
            self.paths.terminals(self.stage.name),
            self.downstream(),
            any(stage.order == "source" for stage in self._chain.below(self.stage.name)),
            self.outbox.emit,
            self.history,
        )

    def receiver(
        self, known: Deduplication | None, suspect: Suspect | None, *, sticky: bool = False
    ) -> Receiver:
        """Make what takes in what the chain above sends."""
        from arroyo.protocol.receiving.receiver import Receiver
        from arroyo.protocol.receiving.upstream import Upstream

        chain, stage, history = self._chain, self.stage, self.history
        upstream = Upstream(
            self._name,
            self._incarnation,
            {above: link == "pub-sub" for above, link in chain.senders(stage.name).items()},
            # Every operator may turn out to fold, which makes it a source.
            [each for above in chain.above(stage.name) for each in above.names],
            sticky=sticky,
            suspect=suspect,
            emit=self.outbox.emit,
            history=history,
        )
        ordered = stage.order == "source"
        return Receiver(upstream, known, ordered=ordered, outbox=self.outbox, history=history)

    def downstream(self) -> Downstream:
        """Make what sends to the chain below."""
        chain, name, emit, history = self._chain, self._name, self.outbox.emit, self.history
        new_link = link_numbers(self._incarnation)
        routes, publication = [], None
        for below, link in chain.downstream(name.stage):
            if link == "push-pull":
                edge = self.paths.edge(name.stage, below.name)
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
                routes.append((dispatcher, range(edge, edge + self.paths.count(below.name))))
            elif publication is None:
                publication = Publication(name, new_link, emit)
        expected = [each for stage in chain.below(name.stage) for each in stage.names]
        return Downstream(self._incarnation, routes, publication, expected, history=history)


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


def _dispatch(stage: Stage) -> Dispatch:
    if stage.dispatch_key is not None:
        return "key"
    # A replicated sink must get a message that comes again where it is known.
    return "sequence" if stage.role == "publisher" and stage.replicas > 1 else "balanced"
