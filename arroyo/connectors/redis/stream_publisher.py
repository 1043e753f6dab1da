"""Publisher to a Redis stream: one message is one entry with the fields `header` and `payload`.

A script on the server appends only messages whose keys it has not seen, so nothing is added twice;
for large ones a transaction does the same, without the script's copies. Explicit ids, made of a
message's origin, would need no memory of keys; but ids have to grow, and messages of several
sources or replicas come in any order.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, ClassVar

import redis

from arroyo.connectors.wire_format import write_outward
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.messages import Message
from arroyo.stages import Publisher

from .client import RedisServer

LARGE_BYTES = 64 * 2**10
"""Larger payloads bypass the script: the server copies its arguments three times."""
BATCH_MESSAGES = 100
BATCH_BYTES = 2**20
"""A batch is sent when it has this size,"""
BATCH_S = 0.005
"""or when the last one was sent so long ago, in s."""
MARK_S = 60
"""How long the server keeps the mark of one large message, in s."""
VALUE_BYTES = 512 * 2**20
"""The largest value of Redis, unless its proto-max-bulk-len says otherwise."""
REMEMBERED = 200_000
"""Number of keys kept beside a stream: the windows of three sources."""


class RedisStreamPublisher(Publisher):
    """Appends to a stream.

    Delivery: exactly once into the stream. The server adds an entry and notes the key of its
    message in one step, in the sorted set ``STREAM:published``, and adds none whose key is there;
    so a message that comes again after a death or a lost connection is not there twice, whichever
    replica publishes it. The set holds the last 200,000 keys, more than three sources can have
    under way. What the server had confirmed and then lost in a crash is lost: that is up to its
    setting ``appendfsync``. Entries have the server's own ids, so their order is that of arrival.

    Messages are sent together while many come, and otherwise at once; the chain takes them for
    published when the server has confirmed them.

    Parameters
    ----------
    stream
        Name of the stream.
    url
        As for `RedisStreamListener`.
    maxlen
        How many entries the stream keeps, roughly; the oldest are trimmed, also those that a
        group has not read. By default all, until the server's memory is full.
    host, port, db, password_env
        As for `RedisStreamListener`.
    retry_for_s
        How long to try again after the connection was lost, in s; then the stage ends, and is
        started again for as long as it takes.
    """

    idempotent: ClassVar[bool] = True

    def __init__(
        self,
        stream: str,
        url: str | None = None,
        maxlen: int | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password_env: str | None = None,
        retry_for_s: float = 10.0,
    ) -> None:
        if maxlen is not None and maxlen < 1:
            raise ConfigurationError(
                f"RedisStreamPublisher: maxlen is {maxlen}; expected 1 or more, or leave it out"
            )
        self._server = RedisServer(
            "RedisStreamPublisher", url, host, port, db, password_env=password_env
        )
        self.address = self._server.address
        self._stream = stream
        self._published = f"{stream}:published"
        self._maxlen = maxlen or 0
        self._retry_for_s = retry_for_s
        self._parts: list[str | bytes] = []
        """Key, header and payload of each message that was not sent, one after the other."""
        self._bytes = 0
        self._sent_at = 0.0

    def open(self) -> None:
        """Connect; ConfigurationError if the key is not a stream."""
        self._server.connect()
        self._append = self._server.client.register_script(_APPEND)
        with self._server.explained():
            self._server.client.xlen(self._stream)

    def publish(self, message: Message) -> None:
        """Append the message, in a batch if many come.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express, or is too large for Redis.
        UnavailableError
            The server was away for `retry_for_s`, or until the stage had to stop.
        """
        header, payload = write_outward(message)
        if (size := max(len(header), len(payload))) > VALUE_BYTES:
            raise EncodeError(f"a message of {size} bytes is more than Redis takes ({VALUE_BYTES})")
        key = message.key if message.origin is not None else ""
        if len(payload) >= LARGE_BYTES:
            self.flush()
            self._server.insist(
                lambda: self._add_large(key, header, payload),
                self._retry_for_s,
                self.report_waiting,
            )
            return
        # The payload may be a view of memory that is valid until we return.
        self._parts += (key, header, bytes(payload))
        self._bytes += len(header) + len(payload)
        full = len(self._parts) >= 3 * BATCH_MESSAGES or self._bytes >= BATCH_BYTES
        if full or time.monotonic() - self._sent_at > BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Send the batch and wait for the server's confirmation; errors as for `publish`."""
        if self._parts:
            self._server.insist(self._send, self._retry_for_s, self.report_waiting)

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def _send(self) -> None:
        keys = (self._stream, self._published)
        self._append(keys=keys, args=(self._maxlen, REMEMBERED, *self._parts))
        self._parts.clear()
        self._bytes = 0
        self._sent_at = time.monotonic()

    def _add_large(self, key: str, header: bytes, payload: bytes | memoryview) -> None:
        """Do what the script does, for one message, as a transaction.

        It fails and is repeated if somebody adds the same message between look-up and addition:
        both set a key of this message alone.
        """
        fields = {"header": header, "payload": payload}
        client: Any = self._server.client
        mine = f"{self._published}:{key}"
        while True:
            with client.pipeline() as pipeline, suppress(redis.exceptions.WatchError):
                pipeline.watch(mine)
                if key and pipeline.zscore(self._published, key) is not None:
                    return
                pipeline.multi()
                pipeline.xadd(self._stream, fields, maxlen=self._maxlen or None)
                if key:
                    pipeline.zadd(self._published, {key: int(time.time() * 1000)})
                    pipeline.zremrangebyrank(self._published, 0, -REMEMBERED - 1)
                    pipeline.set(mine, "", ex=MARK_S)
                pipeline.execute()
                return


# XADD comes first: where it is refused (no memory), the key must not be in the set.
_APPEND = """
local stream, published = KEYS[1], KEYS[2]
local maxlen, remembered = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV, 3 do
    local key, header, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if key == '' or not redis.call('ZSCORE', published, key) then
        if maxlen > 0 then
            redis.call('XADD', stream, 'MAXLEN', '~', maxlen, '*',
                       'header', header, 'payload', payload)
        else
            redis.call('XADD', stream, '*', 'header', header, 'payload', payload)
        end
        if key ~= '' then
            redis.call('ZADD', published, now, key)
        end
    end
end
redis.call('ZREMRANGEBYRANK', published, 0, -remembered - 1)
"""
