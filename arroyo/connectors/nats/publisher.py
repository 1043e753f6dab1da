"""Publisher to NATS JetStream: one message has a header `arroyo` and the payload as body."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import ClassVar, NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from arroyo.connectors.wire_format import write_outward
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.messages import Message
from arroyo.stages import Publisher

from .client import ANSWER_TIMEOUT_S, FAILED, HEADER, Servers, UnconfirmedError
from .session import NATSSession

BATCH_MESSAGES = 100
BATCH_BYTES = 2**20
"""A batch is handed to the library when it has this size,"""
BATCH_S = 0.005
"""or when the last one was so long ago, in s."""
WINDOW_BATCHES = 8
"""Maximum number of batches that wait for their confirmation."""
HEADERS_BYTES = 2**16 - 1
"""Maximum size of a message's headers in a stream."""
_OTHER_HEADERS_BYTES = 1024


class _Outgoing(NamedTuple):
    headers: dict[str, str]
    payload: bytes


class NATSPublisher(Publisher):
    """Publishes to a subject that a stream of JetStream takes.

    Delivery: at least once, and once where a message comes again soon. Each message carries its
    key as ``Nats-Msg-Id``; the server drops a message whose key it has seen within the stream's
    duplicate window, by default the last 2 minutes. Only a message that comes again later than
    that is there twice.

    Messages are sent in batches, without waiting for each confirmation. They count as published
    when the server has confirmed them.

    Parameters
    ----------
    subject
        Where to publish; a stream has to take it.
    servers
        As for `NATSListener`.
    user, password_env, token_env
        As for `NATSListener`.
    retry_for_s
        How long to try again after the connection was lost, in s; then the stage ends, and is
        started again for as long as it takes.
    """

    idempotent: ClassVar[bool] = True

    def __init__(
        self,
        subject: str,
        servers: Servers = "nats://127.0.0.1:4222",
        *,
        user: str | None = None,
        password_env: str | None = None,
        token_env: str | None = None,
        retry_for_s: float = 10.0,
    ) -> None:
        if not subject or any(sign in "*>" or sign.isspace() for sign in subject):
            raise ConfigurationError(
                f"NATSPublisher: subject is {subject!r}; expected one without wildcards and spaces"
            )
        self._subject = subject
        self._retry_for_s = retry_for_s
        self._session = NATSSession(
            "NATSPublisher", servers, user=user, password_env=password_env, token_env=token_env
        )
        self._unsent: list[_Outgoing] = []
        self._unsent_bytes = 0
        self._sent_at = 0.0
        self._window: deque[tuple[list[_Outgoing], Future[None]]] = deque()
        """Batches in flight, in order."""
        # On the session's loop:
        self._confirming: Client | None = None
        self._batches = 0
        self._unconfirmed: dict[str, _Unconfirmed] = {}

    def open(self) -> None:
        """Connect; UnavailableError if no stream takes the subject."""
        self._session.at_loss = self._give_up_unconfirmed
        self._session.open()
        with self._session.explained():
            self._session.call(self._prepare())

    def publish(self, message: Message) -> None:
        """Send the message, in a batch if many come.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express, or is too large for the server.
        UnavailableError
            The server was away for `retry_for_s`, or until the stage had to stop.
        """
        outgoing = self._write(message)
        self._unsent.append(outgoing)
        self._unsent_bytes += len(outgoing.payload)
        full = len(self._unsent) >= BATCH_MESSAGES or self._unsent_bytes >= BATCH_BYTES
        if full or time.monotonic() - self._sent_at > BATCH_S:
            self._send()
            self._confirm(WINDOW_BATCHES)

    def flush(self) -> None:
        """Send the batch and wait for all confirmations; errors as for `publish`."""
        self._send()
        self._confirm(0)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _write(self, message: Message) -> _Outgoing:
        header, payload = write_outward(message)
        if not header.isascii():
            # Some clients change what is not ASCII.
            header = json.dumps(json.loads(header)).encode()
        if len(header) > HEADERS_BYTES - _OTHER_HEADERS_BYTES:
            raise EncodeError(
                f"a header of {len(header)} bytes is more than a stream of NATS takes "
                f"({HEADERS_BYTES}); put large values into the payload"
            )
        if len(header) + len(payload) + _OTHER_HEADERS_BYTES > self._largest_bytes:
            raise EncodeError(
                f"a message of {len(header) + len(payload)} bytes is more than the NATS server "
                f"takes ({self._largest_bytes}); raise its max_payload"
            )
        headers = {HEADER: header.decode()}
        if message.origin is not None:
            headers["Nats-Msg-Id"] = message.key
        return _Outgoing(headers, bytes(payload))

    # Sending

    def _send(self) -> None:
        if self._unsent:
            batch, self._unsent, self._unsent_bytes = self._unsent, [], 0
            self._window.append((batch, self._session.begin(self._deliver(batch))))
            self._sent_at = time.monotonic()

    def _confirm(self, left: int) -> None:
        """Wait until at most `left` batches are unconfirmed."""
        while len(self._window) > left:
            try:
                self._window[0][1].result()
                self._window.popleft()
            except FAILED:
                self._session.insist(self._send_again, self._retry_for_s, self.report_waiting)

    def _send_again(self) -> None:
        """Send what is not confirmed again; the server drops what it has received before."""
        while self._window:
            batch, sent = self._window[0]
            if sent.exception() is not None:
                self._session.call(self._deliver(batch))
            self._window.popleft()

    async def _prepare(self) -> None:
        client = self._session.client
        try:
            stream = await client.jsm().find_stream_name_by_subject(self._subject)
        except NotFoundError:
            raise NoStreamResponseError from None
        limit = (await client.jsm().stream_info(stream)).config.max_msg_size or -1  # -1: none
        self._largest_bytes = min(client.max_payload, limit) if limit > 0 else client.max_payload

    async def _deliver(self, batch: Sequence[_Outgoing]) -> None:
        """Publish a batch, and wait until all of it is confirmed."""
        client = self._session.client
        if self._confirming is not client:
            self._inbox = client.new_inbox()
            await client.subscribe(f"{self._inbox}.*", cb=self._take_confirmation)
            self._confirming = client
        self._batches += 1
        name = str(self._batches)
        confirmed = self._unconfirmed[name] = _Unconfirmed(len(batch))
        try:
            for headers, payload in batch:
                await client.publish(
                    self._subject, payload, reply=f"{self._inbox}.{name}", headers=headers
                )
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await confirmed.done.wait()
            except TimeoutError:
                await client.flush(int(ANSWER_TIMEOUT_S))  # raises where nothing is answered
                raise UnconfirmedError from None
        finally:
            del self._unconfirmed[name]
        if confirmed.error is not None:
            raise confirmed.error

    async def _take_confirmation(self, confirmation: Msg) -> None:
        batch = self._unconfirmed.get(confirmation.subject.rpartition(".")[2])
        if batch is not None:
            batch.take(_error_in(confirmation))

    def _give_up_unconfirmed(self) -> None:
        """Fail the batches in flight: their connection is lost."""
        for batch in self._unconfirmed.values():
            batch.take(ConnectionClosedError())


class _Unconfirmed:
    """Counts down the confirmations of a batch; keeps the first error."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.Event()
        self.error: Exception | None = None
        self._left = count

    def take(self, error: Exception | None) -> None:
        """Note the confirmation of one message, or the error in its place."""
        self.error = self.error or error
        self._left -= 1
        if error is not None or self._left == 0:
            self.done.set()


def _error_in(confirmation: Msg) -> Exception | None:
    if confirmation.headers and confirmation.headers.get("Status") == "503":
        return NoStreamResponseError()
    try:
        if error := msgspec.json.decode(confirmation.data).get("error"):
            APIError.from_error(error)
    except APIError as raised:
        return raised
    return None
