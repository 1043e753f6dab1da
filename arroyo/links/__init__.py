"""The sockets between stages, driven by the protocol's state machines."""

from .sockets import (
    AboveCame,
    DataCame,
    LinkBroke,
    LinkEvent,
    Links,
    RecordCame,
    SubscriptionStands,
)

__all__ = [
    "AboveCame",
    "DataCame",
    "LinkBroke",
    "LinkEvent",
    "Links",
    "RecordCame",
    "SubscriptionStands",
]
