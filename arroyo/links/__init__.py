"""The sockets between stages, driven by the protocol's state machines."""

from .sockets import (
    AboveCame,
    DataReceived,
    LinkBroke,
    LinkEvent,
    Links,
    RecordCame,
    SubscriptionStands,
)

__all__ = [
    "AboveCame",
    "DataReceived",
    "LinkBroke",
    "LinkEvent",
    "Links",
    "RecordCame",
    "SubscriptionStands",
]
