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

from arroyo.errors import ConfigurationError, EncodeError
from arroyo.messages import Message
from arroyo.stages import Publisher

from ._nats_session import (
    ANSWER_TIMEOUT_S,
    FAILED,
    HEADER,
    APIError,
    Client,
    ConnectionClosedError,
    Msg,
    NATSSession,
    NoStreamResponseError,
    NotFoundError,
    Servers,
    choose_servers,
)
from .outward import write_outward

BATCH_MESSAGES = 100
BATCH_BYTES = 2**20
"""Messages are handed to the library together up to here,"""
BATCH_S = 0.005
"""and at once where the last ones were so long ago, in s."""
WINDOW_BATCHES = 8
"""So many batches may wait for their confirmation."""
HEADERS_BYTES = 2**16 - 1
"""A stream takes no more in the headers of a message."""
_OTHER_HEADERS_BYTES = 1024


class _Outgoing(NamedTuple):
    headers: dict[str, str]
    payload: bytes


class NATSPublisher(Publisher):
    """Publishes to a subject that a stream of JetStream takes.

    Delivery: at least once, and once where a message comes again soon. Each message carries its
    key as ``Nats-Msg-Id``; the server drops one whose key it has got within the stream's
    duplicate window, by default the last 2 minutes. Only a message that comes again later than
    that is there twice.

    Messages are sent without waiting for each confirmation; the chain takes them for published
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
        addresses = choose_servers("NATSPublisher", servers)
        if not subject or any(sign in "*>" or sign.isspace() for sign in subject):
            raise ConfigurationError(
                f"NATSPublisher: subject is {subject!r}; expected one without wildcards and spaces"
            )
        self._subject = subject
        self._retry_for_s = retry_for_s
        self._session = NATSSession(addresses, user, password_env, token_env)
        self._unsent: list[_Outgoing] = []
        self._unsent_bytes = 0
        self._sent_at = 0.0
        self._window: deque[tuple[list[_Outgoing], Future[None]]] = deque()
        """Batches that are not confirmed yet, in order."""
        # On the session's loop:
        self._confirming: Client | None = None
        self._batches = 0
        self._unconfirmed: dict[str, _Unconfirmed] = {}

    def open(self) -> None:
        """Connect, and see that a stream takes the subject.

        Raises
        ------
        ConfigurationError
            A secret is wrong or missing.
        UnavailableError
            No server can be reached, or no stream takes the subject.
        """
        self._session.at_loss = self._give_up_unconfirmed
        self._session.open()
        with self._session.explained():
            self._session.call(self._prepare())

    def publish(self, message: Message) -> None:
        """Send the message, together with others where many come.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express, or is too large for the server.
        UnavailableError
            The server could not be reached for `retry_for_s`, or until the stage had to stop.
        """
        outgoing = self._write(message)
        self._unsent.append(outgoing)
        self._unsent_bytes += len(outgoing.payload)
        full = len(self._unsent) >= BATCH_MESSAGES or self._unsent_bytes >= BATCH_BYTES
        if full or time.monotonic() - self._sent_at > BATCH_S:
            self._send()
            self._confirm(WINDOW_BATCHES)

    def flush(self) -> None:
        """Send what was not sent; the server has confirmed it all.

        Raises
        ------
        UnavailableError
            As for `publish`.
        """
        self._send()
        self._confirm(0)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _write(self, message: Message) -> _Outgoing:
        header, payload = write_outward(message)
        if not header.isascii():
            # What is not ASCII comes through some clients changed.
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
        """Wait until no more than `left` batches are not confirmed."""
        while len(self._window) > left:
            try:
                self._window[0][1].result()
                self._window.popleft()
            except FAILED:
                with self._session.explained():
                    self._session.insist(self._send_again, self._retry_for_s, self.report_waiting)

    def _send_again(self) -> None:
        """Send all that is not confirmed; what the server has got all the same it drops."""
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
        limit = (await client.jsm().stream_info(stream)).config.max_msg_size or -1
        self._largest_bytes = min(client.max_payload, limit if limit > 0 else client.max_payload)

    async def _deliver(self, batch: Sequence[_Outgoing]) -> None:
        """Publish messages, and wait until all are confirmed."""
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
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await confirmed.done.wait()
        finally:
            del self._unconfirmed[name]
        if confirmed.error is not None:
            raise confirmed.error

    async def _take_confirmation(self, confirmation: Msg) -> None:
        batch = self._unconfirmed.get(confirmation.subject.rpartition(".")[2])
        if batch is not None:
            batch.take(_error_in(confirmation))

    def _give_up_unconfirmed(self) -> None:
        """Say that nothing more will be confirmed by way of this connection."""
        for batch in self._unconfirmed.values():
            batch.take(ConnectionClosedError())


class _Unconfirmed:
    """How many messages of a batch are not confirmed yet, and what became of them."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.Event()
        self.error: Exception | None = None
        self._left = count

    def take(self, error: Exception | None) -> None:
        """One is confirmed, or, where there is an error, refused."""
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
