"""One consumer of a group that shares a Redis stream: the commands, and the order of what comes.

The server notes for each entry which consumer has it and since when (the *pending* entries), until
that one has acknowledged it. Rules:
- A consumer hands entries over in the order in which it got them, in this life and the next ones:
  by the time of delivery, then by id. So reading pending entries again must not change that time,
  which XREADGROUP would do: they are listed by XPENDING and read by XRANGE.
- Entries of others are claimed only where the whole consumer has been silent for long. XAUTOCLAIM
  goes by the age of each entry, and would take those that a slow chain still works on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ._redis_client import redis

MANY = 100
"""Entries that one read asks for, at most: all of them may turn out to be images."""
READ_BYTES = 2**20
"""What one read should come to; the number of entries follows the size of the largest ones."""
AT_ONCE = 1000
"""Entries that one command acknowledges, at most."""
_FIRST_COUNT = 10
_TICK_S = 0.002
"""More than the resolution of the server's delivery times."""
_BEYOND = f"{2**63 - 1}-0"
"""An id that no entry will have."""
_ALL = 10_000_000

Fields = dict[bytes, bytes]


class Entry(NamedTuple):
    """One entry of a stream."""

    id: str
    fields: Fields


class Found(NamedTuple):
    """Pending entries that were read again, and ids of those that the stream has no more."""

    entries: list[Entry]
    gone: list[str]


class GroupConsumer:
    """A consumer by name; calls from two threads don't harm each other."""

    def __init__(self, client: redis.Redis, stream: str, group: str, name: str) -> None:
        self.name = name
        self._client = client
        self._stream = stream
        self._group = group
        self._count = _FIRST_COUNT
        self._largest = 0.0
        """Bytes of the largest entry of late."""

    def make_group(self, *, existing: bool) -> None:
        """Make the group, and the stream, where they are not there; `existing`: from its begin."""
        begin = "0" if existing else "$"
        try:
            self._client.xgroup_create(self._stream, self._group, begin, mkstream=True)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, wait_s: float) -> list[Entry]:
        """Take entries that nobody has got; wait for the first one."""
        streams: dict[Any, Any] = {self._stream: ">"}
        reply: Any = self._client.xreadgroup(
            self._group, self.name, streams, count=self._count, block=max(1, int(wait_s * 1000))
        )
        return self._take(reply[0][1]) if reply else []

    def list_pending(self) -> list[str]:
        """Return the ids that this consumer has and has not acknowledged, in order."""
        rows = self._pending_of(self.name, _ALL)
        rows.sort(key=lambda row: (-row["time_since_delivered"], _order(row["message_id"])))
        return [row["message_id"].decode() for row in rows]

    def read_again(self, ids: Sequence[str]) -> Iterator[Found]:
        """Read pending entries once more, in the order given, a part at a time."""
        at = 0
        while at < len(ids):
            part = ids[at : at + self._count]
            at += len(part)
            with self._client.pipeline(transaction=False) as pipeline:
                for entry in part:
                    pipeline.xrange(self._stream, entry, entry)
                replies = pipeline.execute()
            gone = [entry for entry, reply in zip(part, replies, strict=True) if not reply]
            yield Found(self._take([reply[0] for reply in replies if reply]), gone)

    def claim(self, silent_s: float) -> Iterator[Found]:
        """Take over what consumers have that were not heard of for `silent_s`."""
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
                    self._stream,
                    self._group,
                    self.name,
                    silent_ms,
                    ids,
                )
                time.sleep(_TICK_S)
                entries = self._take(claimed)
                yield Found(entries, self._gone(set(ids) - {entry.id for entry in entries}))
                if len(ids) < self._count:
                    break

    def _gone(self, ids: set[str]) -> list[str]:
        """Return those that are not in the stream; others were claimed by somebody else."""
        return [
            entry
            for entry in sorted(ids, key=lambda each: _order(each.encode()))
            if not self._client.xrange(self._stream, entry, entry)
        ]

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Say that entries are finished."""
        if len(ids) <= AT_ONCE:
            self._client.xack(self._stream, self._group, *ids)
            return
        with self._client.pipeline(transaction=False) as pipeline:
            for first in range(0, len(ids), AT_ONCE):
                pipeline.xack(self._stream, self._group, *ids[first : first + AT_ONCE])
            pipeline.execute()

    def show_life(self) -> None:
        """Be heard of: ask again for entries behind all that there are, and get none."""
        streams: dict[Any, Any] = {self._stream: _BEYOND}
        self._client.xreadgroup(self._group, self.name, streams, count=1)

    def leave(self) -> None:
        """Have the group forget this consumer, if it has nothing pending."""
        if not self._pending_of(self.name, 1):
            self._client.xgroup_delconsumer(self._stream, self._group, self.name)

    def _pending_of(self, name: str, count: int) -> list[Any]:
        rows: Any = self._client.xpending_range(
            self._stream, self._group, "-", "+", count, consumername=name
        )
        return list(rows)

    def _take(self, reply: Sequence[tuple[bytes, Fields]]) -> list[Entry]:
        entries = [Entry(name.decode(), fields) for name, fields in reply]
        if entries:
            largest = max(sum(map(len, entry.fields.values())) for entry in entries)
            self._largest = max(1, largest, 0.9 * self._largest)
            self._count = max(1, min(MANY, 2 * self._count, int(READ_BYTES / self._largest)))
        return entries


def _order(entry: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)
