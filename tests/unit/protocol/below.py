"""What is below a machine under test: one replica of a stage `b`, by push-pull, or as said."""

from __future__ import annotations

import itertools

from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.source.reliable_sender import Surroundings
from arroyo.protocol.values.history import History
from arroyo.protocol.values.paths import Terminal


def surround(name, downstream, outbox, *, incarnation=1, ordered=False):
    """What a sender knows of its chain, with one path to one replica of `b`."""
    terminals = [Terminal("b", 1)]
    return Surroundings(name, incarnation, terminals, downstream, ordered, outbox.emit, History())


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
