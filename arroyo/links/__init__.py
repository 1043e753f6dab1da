"""The sockets between stages, driven by the protocol's state machines."""

from .sockets import DataCame, LinkBroke, LinkEvent, Links, RecordCame

__all__ = ["DataCame", "LinkBroke", "LinkEvent", "Links", "RecordCame"]
