"""`MemoryLinks`: the links of one replica of a chain in one process.

They do with queues what `sockets.Links` does. A record is handed over as it is; messages are
encoded, and each receiver decodes its own. A subscription is confirmed at once, and no link breaks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, DataRecord, join
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Broadcast, Reply, Transmit

from .link_events import BackRecordReceived, DataReceived, LinkEvent, SubscriptionConfirmed


class MemoryLinks:
    """Links of one replica.

    Parameters
    ----------
    others
        Links of all replicas of the chain, by name. It is filled after this.
    subscribers, subscriptions
        Replicas that this one sends to by pub-sub, and those that send to it.
    woken
        Called by `wake`, from any thread, and from a signal handler.
    """

    def __init__(
        self,
        others: Mapping[ReplicaName, MemoryLinks],
        *,
        subscribers: Sequence[ReplicaName] = (),
        subscriptions: Iterable[ReplicaName] = (),
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self._others = others
        self._subscribers = subscribers
        self._woken = woken
        self._called = False
        self._events: deque[LinkEvent] = deque(map(SubscriptionConfirmed, subscriptions))
        self._data: deque[DataReceived] = deque()

    def wake(self) -> None:
        """Make the replica poll. From any thread."""
        self._called = True
        self._woken()

    def has_come(self, *, deaf: bool = False) -> bool:
        """Return True if `poll` would yield something or `wake` was called; `deaf`: not data."""
        return self._called or bool(self._events) or (not deaf and bool(self._data))

    @property
    def has_data(self) -> bool:
        """Whether a record from above waits."""
        return bool(self._data)

    def perform(self, actions: Iterable[Action]) -> None:
        """Carry out what concerns links; other actions are not for this class."""
        for action in actions:
            if isinstance(action, Transmit):
                self._others[action.to]._data.append(_as_received(action.record, action.items))
            elif isinstance(action, Reply):
                self._others[action.to]._events.append(BackRecordReceived(action.record))
            elif isinstance(action, Broadcast):
                for name in self._subscribers:
                    self._others[name]._data.append(_as_received(action.record, action.items))

    def poll(self, timeout_s: float | None, *, deaf: bool = False) -> Iterator[LinkEvent]:
        """Yield what came, as `sockets.Links.poll` does, but at most one record from above.

        It never waits: the driver of the chain does (`runner.cooperative_scheduler`).
        """
        self._called = False
        while self._events:
            yield self._events.popleft()
        if self._data and not deaf:
            yield self._data.popleft()

    def close(self, *, flush: bool = True) -> None:
        """Do nothing: what was sent has arrived."""


def _as_received(record: DataRecord, items: Sequence[Any]) -> DataReceived:
    """Return a record as it comes out of a socket."""
    if not isinstance(record, Batch):
        return DataReceived(record, ())
    body, detached, payloads = join(items)
    record = msgspec.structs.replace(record, detached=detached, sent_ns=time.monotonic_ns())
    views = [memoryview(each).toreadonly() for each in (body, *payloads)]
    return DataReceived(record, views)
