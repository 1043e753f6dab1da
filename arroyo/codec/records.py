"""The records of the link protocol: what each header frame holds (see PROTOCOL.md).

Data records travel down on `in` sockets, back records up on `back` sockets. Each is a msgpack
array that begins with a number for its type. New fields go to the end with a default, so that
neighbours of two releases understand each other; another meaning is another version.
"""

from __future__ import annotations

import itertools
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec

from arroyo.errors import DecodeError
from arroyo.messages import Fragment

PROTOCOL_VERSION = 1

Range: TypeAlias = tuple[int, int]
"""Sequences from the first number up to, and without, the second."""


class Kind(IntEnum):
    """What a batch is about."""

    EVENTS = 0
    START = 1
    STOP = 2


class Reason(IntEnum):
    """Why a message ends as a tombstone."""

    FILTERED = 0
    """`process()` returned nothing for it."""
    SKIPPED = 1
    """`process()` or `publish()` raised, and the stage's `on_error` says to go on."""
    QUARANTINED = 2
    """It was put aside for people to look at."""
    FINISHED = 3
    """Every sink had finished it before it was sent again; only its place is needed."""


class Tombstone(NamedTuple):
    """Stands for messages that end on the way: a range of whole ones, or one fragment."""

    first: int
    end: int
    reason: Reason
    fragment: Fragment = ()


class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class Open(_Record, frozen=True, tag=1):
    """The sender made this link; every later record on it carries its number."""

    version: int
    stage: str
    replica: int
    incarnation: int
    link: int


class Batch(_Record, frozen=True, tag=2):
    """Messages of one run that travel together, all by the same way.

    Attributes
    ----------
    sender, link, number
        Sending replica, its link, and how many batches went before on that link.
    kind
        Start and Stop travel alone.
    run, implicit
        The run, and whether it opened itself because an event came without a Start.
    source, epoch, base
        Where the sequences count, and which of them is the run's first event.
    frontier
        Everything below it is finished on all paths.
    path
        Sum of the edge numbers on the way so far.
    reliable
        Whether the source keeps it until it is acknowledged; not so below a pub-sub link.
    attempt
        In which round of sending again it left the source; 0 for the first time.
    ranges
        Sequences of the messages in the body, in their order.
    tombstones
        Messages that ended on the way.
    fragments
        Position in the body, and which part of its message stands there.
    detached
        Positions in the body whose payload is a frame of its own, in their order.
    """

    sender: str
    link: int
    number: int
    kind: Kind
    run: str
    source: str
    epoch: int
    base: int
    frontier: int
    path: int
    attempt: int = 0
    implicit: bool = False
    reliable: bool = True
    ranges: tuple[Range, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    fragments: tuple[tuple[int, Fragment], ...] = ()
    detached: tuple[int, ...] = ()


class End(_Record, frozen=True, tag=3):
    """Nothing more will come on this link.

    `final` says that the sender has finished for good; else it only leaves, and another life of
    it may open the link again.
    """

    sender: str
    link: int
    final: bool = True


class Hello(_Record, frozen=True, tag=16):
    """The receiver is there and ready; answers an Open, and comes unasked at its start."""

    version: int
    stage: str
    replica: int
    incarnation: int


class Bye(_Record, frozen=True, tag=17):
    """The receiver wants no more; the sender answers with End."""

    stage: str
    replica: int
    incarnation: int


class Credit(_Record, frozen=True, tag=18):
    """The receiver is through with all batches of a link up to, and without, `number`."""

    stage: str
    replica: int
    link: int
    number: int
    message_s: float
    """How long it takes over one message, in s, lately."""


class Ack(_Record, frozen=True, tag=19):
    """A terminal stage has finished messages of one path."""

    stage: str
    replica: int
    source: str
    epoch: int
    path: int
    ranges: tuple[Range, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    fragments: tuple[tuple[int, Fragment], ...] = ()
    """Sequence, and which part of it."""
    taken: bool = False
    """A fold holds them, but what comes of them is not finished."""


class Lost(_Record, frozen=True, tag=20):
    """A replica died or a link broke: what it held and nobody acknowledged must come again.

    With a `link` it goes to the sender: the receiver misses something on that link, or never
    heard of it, and takes no more from it.
    """

    stage: str
    replica: int
    link: int | None = None


class Refuse(_Record, frozen=True, tag=21):
    """The receiver does not understand the sender, and why."""

    stage: str
    replica: int
    version: int
    reason: str


DataRecord: TypeAlias = Open | Batch | End
BackRecord: TypeAlias = Hello | Bye | Credit | Ack | Lost | Refuse

_encoder = msgspec.msgpack.Encoder()
_data_decoder = msgspec.msgpack.Decoder(DataRecord)
_back_decoder = msgspec.msgpack.Decoder(BackRecord)


def encode_record(record: DataRecord | BackRecord) -> bytes:
    """Make the header frame of a record."""
    return _encoder.encode(record)


def decode_data(header: bytes | memoryview) -> DataRecord:
    """Read a header that came in on an `in` or `pub` socket.

    Raises
    ------
    DecodeError
        It is no data record of this version's form.
    """
    try:
        record: DataRecord = _data_decoder.decode(header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"a frame is no data record of Arroyo: {error}") from error
    if isinstance(record, Batch):
        _require_order(record)
    return record


def decode_back(header: bytes | memoryview) -> BackRecord:
    """Read a header that came in on a `back` socket; errors as in `decode_data`."""
    try:
        record: BackRecord = _back_decoder.decode(header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"a frame is no back record of Arroyo: {error}") from error
    if isinstance(record, Ack):
        _require_ranges(record.ranges)
        _require_ranges(record.tombstones)
    return record


def _require_order(batch: Batch) -> None:
    _require_ranges(batch.ranges)
    _require_ranges(batch.tombstones)
    positions = [position for position, _ in batch.fragments]
    for kind, numbers in (("fragments", positions), ("detached payloads", batch.detached)):
        if any(later <= former for former, later in itertools.pairwise(numbers)):
            raise DecodeError(f"a batch's {kind} are not in order")


def _require_ranges(ranges: tuple[Range | Tombstone, ...]) -> None:
    for first, end, *_ in ranges:
        if not 0 <= first < end:
            raise DecodeError(f"a record holds the range {first} to {end}, which is empty")
