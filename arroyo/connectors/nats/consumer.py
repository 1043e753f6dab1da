"""The durable consumer of a listener to a JetStream stream; it keeps the order of the stream.

The server keeps the position up to which a consumer has acknowledged. It redelivers what is not
acknowledged after a wait, in between newer messages. So each connection makes its consumer anew,
behind the last acknowledged message. The new consumer has the other one of two names and is made
before the old one is deleted: there is always one, so the position is never lost, and a stream with
interest retention keeps its messages.
A work queue takes no two consumers of one subject, but keeps what is not acknowledged by itself.
There the old consumer is deleted first, and the new one begins with the first message.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    RetentionPolicy,
    StreamInfo,
)
from nats.js.errors import NotFoundError

from arroyo.errors import ConfigurationError

from .client import ANSWER_TIMEOUT_S
from .session import NATSSession

FIRST_COUNT = 10
MANY = 1000
"""Maximum number of messages requested at a time."""
READ_BYTES = 8 * 2**20
"""Target size of the messages requested at a time; their number follows their size."""
REQUEST_S = 10.0
"""Life of a request for messages at the server, in s."""
_REDELIVER_AFTER_S = 7 * 86_400.0
"""Long enough that the server redelivers nothing by itself, however long a chain takes."""
_DELETED = "Consumer Deleted"


class ConsumerGoneError(Exception):
    """The consumer was deleted, or delivers nothing any more: it has to be made anew."""


class DurableConsumer:
    """Delivers the messages of one subject in the order of the stream.

    The listener's thread calls its methods; `acknowledge` and `wake` may be called from any.
    """

    def __init__(self, session: NATSSession, stream: str, subject: str, durable: str) -> None:
        self._session = session
        self._stream = stream
        self._subject = subject
        self._names = (f"{durable}-a", f"{durable}-b")
        self._mine: set[str] = set()
        """The name in use; both while it isn't known which of them exist."""
        self.end = 0
        """The last sequence that the stream had when the consumer was made."""
        self._created: object = None
        self._acknowledge_each = False
        self._arrived: queue.SimpleQueue[Msg | None] = queue.SimpleQueue()
        self._wanted = FIRST_COUNT
        self._outstanding = 0
        """Messages that were requested and have not arrived."""
        self._messages = self._bytes = 0
        """What has arrived since the last request."""
        self._last = 0

    def renew(self, finished: int | None, *, existing: bool) -> int | None:
        """Make the consumer anew.

        Parameters
        ----------
        finished
            Sequence up to which messages are finished, as far as the listener knows.
        existing
            Whether a consumer that never existed begins with the first message.

        Returns
        -------
        Sequence up to which messages are finished; None if the stream was made anew.

        Raises
        ------
        ConfigurationError
            Another program has taken the consumer over.
        """
        return self._session.call(self._renew(finished, existing=existing))

    def take(self) -> tuple[int, Msg] | None:
        """Wait for a message; None after a time, or if `wake` was called.

        Returns
        -------
        Its sequence in the stream, and the message.

        Raises
        ------
        ConsumerGoneError
            `renew` has to be called.
        """
        if self._outstanding <= self._wanted // 2:
            self._ask_for_more()
        try:
            message = self._arrived.get(timeout=REQUEST_S + ANSWER_TIMEOUT_S)
        except queue.Empty:
            # A request ends with an answer after `REQUEST_S` at the latest.
            raise ConsumerGoneError("no answer") from None
        if message is None:
            return None
        if not message.reply:
            self._end_request(message.headers or {})
            return None
        self._outstanding -= 1
        self._messages += 1
        self._bytes += len(message.data)
        parts = message.reply.split(".")
        # $JS.ACK, [domain, account,] stream, consumer, deliveries, both sequences, ...
        at = 5 if len(parts) == 9 else 7
        sequence, number = int(parts[at]), int(parts[at + 1])
        if number != self._last + 1:
            raise ConsumerGoneError(f"message {self._last + 1} of the consumer is missing")
        self._last = number
        return sequence, message

    def wake(self) -> None:
        """Make a `take` that waits return None."""
        self._arrived.put(None)

    def acknowledge(self, replies: Sequence[str]) -> None:
        """Acknowledge messages by their reply subjects, in order, and wait for the server."""
        self._session.call(self._acknowledge(replies))

    def delete(self) -> None:
        """Delete this consumer at the server."""
        for name in self._mine:
            self._session.call(self._delete(name))

    def _ask_for_more(self) -> None:
        if self._messages:
            fitting = READ_BYTES * self._messages // max(1, self._bytes)
            self._wanted = max(1, min(MANY, 2 * self._wanted, fitting))
            self._messages = self._bytes = 0
        count = self._wanted - self._outstanding
        if count <= 0:  # the messages have turned out to be larger than those before
            return
        request = {"batch": count, "expires": int(REQUEST_S * 1e9)}
        self._outstanding = self._wanted
        self._session.begin(self._ask(msgspec.json.encode(request)))

    def _end_request(self, headers: dict[str, Any]) -> None:
        status = headers.get("Status")
        if status == "503" or _DELETED in str(headers):
            raise ConsumerGoneError("it was deleted")
        self._outstanding -= int(headers.get("Nats-Pending-Messages", self._outstanding))

    async def _renew(self, finished: int | None, *, existing: bool) -> int | None:
        manager = self._session.client.jsm()
        stream = await manager.stream_info(self._stream)
        found = {name: info for name in self._names if (info := await self._look_up(name))}
        if found and self._mine and self._mine.isdisjoint(found):
            raise ConfigurationError(
                f"another program reads the stream {self._stream} as {self._names[0][:-2]!r}, and "
                "has taken it over; give each listener a durable of its own"
            )
        is_other = self._created not in (None, stream.created)
        self._created = stream.created
        self.end = stream.state.last_seq
        if is_other:
            finished, existing = None, True
        positions = [info.ack_floor.stream_seq for info in found.values() if info.ack_floor]
        if finished is not None:
            positions.append(finished)
        # A server that has lost its last messages reuses their sequences.
        floor = min(self.end, max(positions, default=0 if existing else self.end))
        await self._replace(found, stream, floor)
        await self._listen()
        return None if is_other else floor

    async def _replace(
        self, found: dict[str, ConsumerInfo], stream: StreamInfo, floor: int
    ) -> None:
        # Both exist where a process died in this method: either will do.
        old = next(iter(found), None)
        new = self._names[1] if old == self._names[0] else self._names[0]
        is_work_queue = stream.config.retention == RetentionPolicy.WORK_QUEUE
        self._acknowledge_each = is_work_queue
        self._mine = set(self._names)
        if new in found:
            await self._delete(new)
        if is_work_queue and old:
            await self._delete(old)
        config = ConsumerConfig(
            name=new,
            durable_name=new,
            description="a listener of Arroyo",
            filter_subject=self._subject,
            ack_wait=_REDELIVER_AFTER_S,
            max_ack_pending=-1,
            ack_policy=AckPolicy.ALL,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=floor + 1,
        )
        if is_work_queue:
            config = config.evolve(
                ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, opt_start_seq=None
            )
        await self._session.client.jsm().add_consumer(self._stream, config)
        self._mine = {new}
        if old and not is_work_queue:
            await self._delete(old)

    async def _listen(self) -> None:
        # A new inbox, so that nothing that was requested before arrives here.
        arrived: queue.SimpleQueue[Msg | None] = queue.SimpleQueue()

        async def take(message: Msg) -> None:
            arrived.put(message)

        self._arrived = arrived
        self._outstanding = self._last = 0
        client = self._session.client
        self._inbox = client.new_inbox()
        # No limits: there is never more in flight than was requested.
        await client.subscribe(self._inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)

    async def _ask(self, request: bytes) -> None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{next(iter(self._mine))}"
        await self._session.client.publish(subject, request, reply=self._inbox)

    async def _acknowledge(self, replies: Sequence[str]) -> None:
        client = self._session.client
        if self._acknowledge_each:
            for reply in replies[:-1]:
                await client.publish(reply, b"+ACK")
        await client.request(replies[-1], b"+ACK", timeout=ANSWER_TIMEOUT_S)

    async def _look_up(self, name: str) -> ConsumerInfo | None:
        try:
            info: ConsumerInfo = await self._session.client.jsm().consumer_info(self._stream, name)
        except NotFoundError as error:
            if error.err_code == _NO_STREAM:
                raise
            return None
        return info

    async def _delete(self, name: str) -> None:
        try:
            await self._session.client.jsm().delete_consumer(self._stream, name)
        except NotFoundError:
            return


_NO_STREAM = 10059
"""The server's error code for a stream that does not exist."""
