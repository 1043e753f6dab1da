"""Events of links: what came from the replicas above and below, and how they are. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from arroyo.codec import BackRecord, DataRecord
from arroyo.identifiers import ReplicaName


class DataReceived(msgspec.Struct, frozen=True):
    """A record from above; of a batch, `frames` are the body and the payloads."""

    record: DataRecord
    frames: Sequence[bytes | memoryview]


class BackRecordReceived(msgspec.Struct, frozen=True):
    """A record from below."""

    record: BackRecord


class LinkBroken(msgspec.Struct, frozen=True):
    """The connection to a replica below ended."""

    replica: ReplicaName
    link: int


class SenderConnected(msgspec.Struct, frozen=True):
    """A replica above takes records: for the first time, or in its next life."""

    replica: ReplicaName


class SubscriptionConfirmed(msgspec.Struct, frozen=True):
    """Nothing that this replica above publishes from now on is missed."""

    replica: ReplicaName


LinkEvent: TypeAlias = (
    DataReceived | BackRecordReceived | LinkBroken | SenderConnected | SubscriptionConfirmed
)
