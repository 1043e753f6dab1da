"""One consumer in a consumer group of a Redis stream: its commands, and the order of its entries.

The server notes for each entry which consumer has it and since when (*pending* entries), until that
consumer acknowledges it. Rules:
- A consumer hands entries over in the order in which it received them, in this process and the
  next ones: by time of delivery, then by id. XREADGROUP would change that time when it reads
  pending entries again; so XPENDING lists them, and XRANGE reads them.
- Entries of another consumer are claimed only if all of it has been silent for long. XAUTOCLAIM
  goes by the age of each entry, and would take those that a slow chain still works on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import redis

_log = logging.getLogger(__name__)

MANY = 100
"""Maximum entries of one read: all of them may turn out to be images."""
READ_BYTES = 2**20
"""Target size of one read; the number of entries follows the size of the largest ones."""
AT_ONCE = 1000
"""Maximum entries acknowledged by one command."""
_FIRST_COUNT = 10
_TICK_S = 0.002
"""More than the resolution of the server's delivery times."""
_BEYOND = f"{2**63 - 1}-0"
"""An id that no entry will have."""
_ALL = 10_000_000

Fields = dict[bytes, bytes]


class StreamEntry(NamedTuple):
    """One entry of a stream."""

    id: str
    fields: Fields


class PendingEntries(NamedTuple):
    """Pending entries that were read again, and ids of those no longer in the stream."""

    entries: list[StreamEntry]
    gone: list[str]


class GroupConsumer:
    """A consumer by name. Its methods may be called from two threads."""

    def __init__(self, client: redis.Redis, stream: str, group: str, name: str) -> None:
        self.name = name
        self._client = client
        self._stream = stream
        self._group = group
        self._count = _FIRST_COUNT
        self._largest = 0.0
        """Bytes of the largest recent entry; decays."""

    def make_group(self, *, existing: bool) -> None:
        """Make group and stream if they don't exist; `existing`: begin with the first entry."""
        begin = "0" if existing else "$"
        try:
            self._client.xgroup_create(self._stream, self._group, begin, mkstream=True)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, wait_s: float) -> list[StreamEntry]:
        """Read entries that no consumer has; wait up to `wait_s` for the first one."""
        streams: dict[Any, Any] = {self._stream: ">"}
        reply: Any = self._client.xreadgroup(
            self._group, self.name, streams, count=self._count, block=max(1, int(wait_s * 1000))
        )
        return self._take(reply[0][1]) if reply else []

    def list_pending(self) -> list[str]:
        """Return the ids of this consumer's pending entries, in order of delivery."""
        rows = self._pending_of(self.name, _ALL)
        rows.sort(key=lambda row: (-row["time_since_delivered"], _order(row["message_id"])))
        return [row["message_id"].decode() for row in rows]

    def read_again(self, ids: Sequence[str]) -> Iterator[PendingEntries]:
        """Read pending entries again, in the order given, a part at a time."""
        at = 0
        while at < len(ids):
            part = ids[at : at + self._count]
            at += len(part)
            with self._client.pipeline(transaction=False) as pipeline:
                for entry in part:
                    pipeline.xrange(self._stream, entry, entry)
                replies = pipeline.execute()
            gone = [entry for entry, reply in zip(part, replies, strict=True) if not reply]
            yield PendingEntries(self._take([reply[0] for reply in replies if reply]), gone)

    def claim(self, silent_s: float) -> Iterator[PendingEntries]:
        """Take over the pending entries of consumers that have been silent for `silent_s`."""
        silent_ms = int(silent_s * 1000)
        consumers: Any = self._client.xinfo_consumers(self._stream, self._group)
        for other in consumers:
            name = other["name"].decode()
            if name == self.name or not other["pending"] or other["idle"] < silent_ms:
                continue
            while rows := self._pending_of(name, self._count):
                ids = [row["message_id"].decode() for row in rows]
                time.sleep(_TICK_S)
                claimed: Any = self._client.xclaim(
                    self._stream, self._group, self.name, silent_ms, ids
                )
                time.sleep(_TICK_S)
                entries = self._take(claimed)
                _log.info("took %d entries over from %s, which is silent", len(entries), name)
                yield PendingEntries(
                    entries, self._gone(set(ids) - {entry.id for entry in entries})
                )
                if len(ids) < self._count:
                    break

    def _gone(self, ids: set[str]) -> list[str]:
        """Return those that are not in the stream; another consumer has claimed the others."""
        return [
            entry
            for entry in sorted(ids, key=lambda each: _order(each.encode()))
            if not self._client.xrange(self._stream, entry, entry)
        ]

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Acknowledge entries (XACK)."""
        if len(ids) <= AT_ONCE:
            self._client.xack(self._stream, self._group, *ids)
            return
        with self._client.pipeline(transaction=False) as pipeline:
            for first in range(0, len(ids), AT_ONCE):
                pipeline.xack(self._stream, self._group, *ids[first : first + AT_ONCE])
            pipeline.execute()

    def show_life(self) -> None:
        """Count as alive: read behind the last entry there can be, which returns nothing."""
        streams: dict[Any, Any] = {self._stream: _BEYOND}
        self._client.xreadgroup(self._group, self.name, streams, count=1)

    def leave(self) -> None:
        """Remove this consumer from the group, if it has nothing pending."""
        if not self._pending_of(self.name, 1):
            self._client.xgroup_delconsumer(self._stream, self._group, self.name)

    def _pending_of(self, name: str, count: int) -> list[Any]:
        rows: Any = self._client.xpending_range(
            self._stream, self._group, "-", "+", count, consumername=name
        )
        return list(rows)

    def _take(self, reply: Sequence[tuple[bytes, Fields]]) -> list[StreamEntry]:
        entries = [StreamEntry(name.decode(), fields) for name, fields in reply]
        if entries:
            largest = max(sum(map(len, entry.fields.values())) for entry in entries)
            self._largest = max(1, largest, 0.9 * self._largest)
            self._count = max(1, min(MANY, 2 * self._count, int(READ_BYTES / self._largest)))
        return entries


def _order(entry: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)
