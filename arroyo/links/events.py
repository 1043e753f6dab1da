"""What links report of replicas above and below. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from arroyo.codec import BackRecord, DataRecord
from arroyo.identifiers import ReplicaName


class DataReceived(NamedTuple):
    """A record from above; a batch brings its body and payloads."""

    record: DataRecord
    frames: Sequence[bytes | memoryview]


class RecordCame(NamedTuple):
    """A record from below."""

    record: BackRecord


class LinkBroke(NamedTuple):
    """The connection to a replica below ended."""

    replica: ReplicaName
    link: int


class AboveCame(NamedTuple):
    """A replica above can be spoken to: for the first time, or in its next life."""

    replica: ReplicaName


class SubscriptionStands(NamedTuple):
    """From now on a pub-sub link from this replica above brings all that it sends."""

    replica: ReplicaName


LinkEvent: TypeAlias = DataReceived | RecordCame | LinkBroke | AboveCame | SubscriptionStands
