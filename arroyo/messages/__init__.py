"""Messages of a chain: runs of `Start`, `Event`, `Stop`, and users' own types."""

from ._message import Event, Message, Payload, Start, Stop, plain_sequences
from ._origin import Fragment, Origin, origin_key
from ._slab_reference import SlabReference

__all__ = [
    "Event",
    "Fragment",
    "Message",
    "Origin",
    "Payload",
    "SlabReference",
    "Start",
    "Stop",
    "origin_key",
    "plain_sequences",
]
