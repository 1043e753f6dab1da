"""The records of the link protocol: the contents of each header frame (see PROTOCOL.md).

Data records travel down on `in` sockets, back records up on `back` sockets. Each is a msgpack
array that begins with the number of its type. New fields are added at the end, with a default, so
neighbours of two releases understand each other. A change of meaning is a new version.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from arroyo.messages import Fragment, SlabReference

PROTOCOL_VERSION = 1

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
"""A number to which others can be added within 64 bits."""
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

Range: TypeAlias = tuple[Count, Count]
"""Sequences from the first number up to the second, which is not included."""


class Kind(IntEnum):
    """Contents of a batch."""

    EVENTS = 0
    START = 1
    STOP = 2
    CLOSING = 3
    """Announces the Stop that comes when everything is finished: folds send what they hold."""


class Reason(IntEnum):
    """Why a message ended on its way."""

    FILTERED = 0
    """`process()` returned nothing for it."""
    SKIPPED = 1
    """`process()` or `publish()` raised, and the stage's `on_error` says to drop it."""
    QUARANTINED = 2
    """It is in quarantine, from where it can be sent again."""
    FINISHED = 3
    """Every sink had finished it before it was sent again; only its sequence is needed."""


class Tombstone(NamedTuple):
    """Stands for messages that end on the way: a range of whole ones, or one fragment."""

    first: Count
    end: Count
    reason: Reason
    fragment: Fragment = ()


class Returned(NamedTuple):
    """Former origin of a message from quarantine, at the stage that it goes into.

    `start` and `stop` are those of its run as that stage got them, packed. They are empty if the
    run has none, or is still open: then the stages below know them.
    """

    run: str
    epoch: Count
    sequence: Count
    path: Count = 0
    fragment: Fragment = ()
    start: bytes = b""
    stop: bytes = b""


class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class Open(_Record, frozen=True, tag=1):
    """Opens a link; every later record on it carries its number."""

    version: Count
    stage: str
    replica: Count
    incarnation: Count
    link: Count


class Batch(_Record, frozen=True, tag=2):
    """Messages of one run that travel together, on the same path.

    Attributes
    ----------
    sender, link, number
        Sending replica, its link, and the number of batches before this one on that link.
    kind
        Start, Stop and the announcement of a Stop travel alone.
    run, implicit
        The run, and whether it opened itself by an event without a Start.
    source, epoch, base
        Source and epoch of the sequences, and the sequence of the run's first event.
    frontier
        Everything below it is finished on all paths.
    path
        Sum of the edge numbers on its path so far.
    reliable
        Whether the source keeps it until it is acknowledged; not so below a pub-sub link.
    attempt
        Number of the round of redelivery in which it left the source; 0: the first delivery.
    ranges
        Sequences of the messages in the body, in their order.
    tombstones
        Messages that ended on the way.
    fragments
        Positions in the body of fragments, and the fragment at each.
    detached
        Positions in the body whose payload is a frame of its own, in their order.
    slabs
        Positions in the body whose payload is in shared memory, in their order, with references.
    suspect
        Not 0: the only message in it has ended a process. Incarnation of the last replica that
        has told the source of any such message.
    enters
        Not empty: people have brought the message back from quarantine, and this is the stage
        that it goes into. Stages before that pass it on untouched, stages beside it see nothing
        of it. The source's own name: it goes all ways.
    holders
        With the announcement of a Stop: stage, replica and incarnation of those that hold what is
        left of the run. Others do not mind it: they may not have got all that they will.
    handed_ns
        When the listener handed over the oldest of them, on the source's CLOCK_MONOTONIC, in ns.
        0: unknown.
    sent_ns
        When the neighbour sent it, likewise.
    returned
        With a message from quarantine: its former origin, which the stages' code sees.
    """

    sender: str
    link: Count
    number: Count
    kind: Kind
    run: str
    source: str
    epoch: Count
    base: Count
    frontier: Count
    path: Count
    attempt: Count = 0
    implicit: bool = False
    reliable: bool = True
    ranges: tuple[Range, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    fragments: tuple[tuple[Count, Fragment], ...] = ()
    detached: tuple[Count, ...] = ()
    slabs: tuple[tuple[Count, SlabReference], ...] = ()
    suspect: Count = 0
    enters: str = ""
    holders: tuple[tuple[str, Count, Count], ...] = ()
    handed_ns: Count = 0
    sent_ns: Count = 0
    returned: Returned | None = None


class End(_Record, frozen=True, tag=3):
    """Ends a link: nothing more will come on it.

    `final` says that the sender has finished. Otherwise it only leaves, and its next life may open
    the link again.
    """

    sender: str
    link: Count
    final: bool = True


class Hello(_Record, frozen=True, tag=16):
    """The receiver is ready. Answers an Open, and is sent unasked at its start."""

    version: Count
    stage: str
    replica: Count
    incarnation: Count
    sticky: bool = False
    """Redelivered messages have to reach the replica that had them: it folds."""


class Bye(_Record, frozen=True, tag=17):
    """The receiver takes no more; the sender answers with End."""

    stage: str
    replica: Count
    incarnation: Count


class Credit(_Record, frozen=True, tag=18):
    """The receiver is done with all batches of a link before `number`."""

    stage: str
    replica: Count
    link: Count
    number: Count
    message_s: Seconds
    """How long it has taken over one message lately, in s; 0: it has worked on none."""


class Ack(_Record, frozen=True, tag=19):
    """A terminal or a fold has finished messages on one path, or on several adjacent ones."""

    stage: str
    replica: Count
    source: str
    epoch: Count
    path: Count
    ranges: tuple[Range, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    fragments: tuple[tuple[Count, Fragment], ...] = ()
    """Sequences, and the fragment of each."""
    taken: Count = 0
    """Not 0: a fold of this incarnation holds them; its output is not finished."""
    paths: Count = 1
    """Number of paths that it is for, from `path` on: a fold's is for all paths below it."""
    replicas: Count = 0
    """Not 0: number of replicas that have to acknowledge the same Start or Stop."""


class Lost(_Record, frozen=True, tag=20):
    """A replica died or a link broke: what it held unacknowledged has to come again.

    With a `link` it goes to the sender: the receiver misses a batch of that link, or does not know
    the link, and takes no more from it.
    """

    stage: str
    replica: Count
    link: Count | None = None


class Refuse(_Record, frozen=True, tag=21):
    """The receiver does not understand the sender, for this reason."""

    stage: str
    replica: Count
    version: Count
    reason: str


class Suspect(_Record, frozen=True, tag=22):
    """To a source: the receiver's life before this one has ended with this message in hand.

    It comes before the Hello, and only where the message may be to blame.
    """

    stage: str
    replica: Count
    incarnation: Count
    source: str
    epoch: Count
    sequence: Count
    reason: str
    """In words: ``died of a segmentation fault (SIGSEGV)``."""
    stack: str = ""


DataRecord: TypeAlias = Open | Batch | End
BackRecord: TypeAlias = Hello | Bye | Credit | Ack | Lost | Refuse | Suspect
