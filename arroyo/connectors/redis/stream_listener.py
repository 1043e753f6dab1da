"""Listener to a Redis stream: one message is one entry with the fields `header` and `payload`.

The server keeps entries, and which consumer has which of them pending. So a listener goes on where
it was, and several share a stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import ClassVar

import redis

from arroyo.connectors.consumer_state import ConsumerState
from arroyo.connectors.parsing import ParsingListener, TolerantParser, make_parser
from arroyo.connectors.retrying import Outage
from arroyo.errors import ConfigurationError
from arroyo.stages import MessageParser, Processor

from .client import RedisServer
from .group import Fields, GroupConsumer, PendingEntries, StreamEntry

READ_WAIT_S = 0.1
"""How long one read waits, and so how long `stop()` may take, in s."""
ATTEMPT_S = 1.0
"""How long an acknowledgement that failed waits for the next attempt, in s."""

_log = logging.getLogger(__name__)


class RedisStreamListener(ParsingListener):
    """Receives the entries of a stream, as a consumer of a group.

    **It is replayable.** An entry is acknowledged (XACK) when every sink has finished it, and not
    before. After any death of this stage the entries in flight come again, in their order and
    under their old keys. Its token is the entry's id. Several replicas, and several chains that
    name the same group, share the entries; each chain with a group of its own gets them all.
    Start and Stop in the stream reach one replica only: with several, send events without them.

    A consumer is a replica with its state directory, so that a replica that comes back has its
    pending entries at once. Those of a consumer that has been silent for `claim_after_s` are taken
    over by another one.

    Entries that were trimmed or deleted while they were pending, and whose messages died with a
    stage, are counted in `lost`, logged by their ids, and named in the Stop as missing.
    An entry that can't be read is counted in `rejected`, logged by its id and acknowledged; it
    stays in the stream, where XRANGE shows it.

    The parser gets two frames, the fields `header` and `payload`, or the one that is there. Of an
    entry with neither it gets all names and values in turn.

    Parameters
    ----------
    operator
        Gets the messages.
    stream
        Name of the stream, which is created if it does not exist.
    group
        Name of the consumer group, which is created if it does not exist.
    url
        ``redis://host:port/db``, ``rediss://`` for TLS, ``unix://path``; without a password.
        Or give `host`, `port` and `db`.
    existing
        Whether a new group begins with the entries that are in the stream already.
    host, port, db
        Where the server is; by default 127.0.0.1, 6379 and database 0.
    password_env
        Name of the environment variable that holds the password, if one is needed.
    parser
        ``"arroyo"``, ``"raw"``, ``"module:Class"``, or a `MessageParser`.
    claim_after_s
        How long another consumer must have been silent before its entries are taken over, in s.
        More than a stage may need to come back.
    retry_for_s
        How long to try again after the connection was lost, in s; then the stage ends, and is
        started again for as long as it takes.
    """

    replayable: ClassVar[bool] = True

    def __init__(
        self,
        operator: Processor,
        stream: str,
        group: str,
        url: str | None = None,
        *,
        existing: bool = True,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password_env: str | None = None,
        parser: MessageParser | str = "arroyo",
        claim_after_s: float = 300.0,
        retry_for_s: float = 10.0,
    ) -> None:
        super().__init__(operator)
        if claim_after_s <= 0:
            raise ConfigurationError(
                f"RedisStreamListener: claim_after_s is {claim_after_s:g}; expected more than 0"
            )
        self._server = RedisServer(
            "RedisStreamListener", url, host, port, db, password_env=password_env
        )
        self.address = self._server.address
        self.lost = 0
        """Entries that were pending and are no longer in the stream, since the start."""
        self.reconnects = 0
        """How often the connection was lost, since the start."""
        self._stream = stream
        self._group = group
        self._existing = existing
        self._parser = TolerantParser(make_parser(parser))
        self._claim_after_s = claim_after_s
        self._retry_for_s = retry_for_s
        self._closing = ExitStack()
        self._stopping = threading.Event()
        self._held: set[str] = set()
        """Ids that were handed over and whose acknowledgement has not reached the server."""
        self._owing = threading.Lock()
        self._attempt_at = self._claim_at = 0.0

    def open(self) -> None:
        """Connect, and make the group if it does not exist."""
        self._server.connect()
        self._closing.callback(self._server.close)
        self._consumer_state = ConsumerState(self.state_directory)
        self._closing.callback(self._consumer_state.close)
        self._consumer = GroupConsumer(
            self._server.client, self._stream, self._group, self._consumer_state.name
        )
        with self._server.explained():
            self._consumer.make_group(existing=self._existing)
        self._closing.callback(self._leave)
        self._claim_at = time.monotonic() + self._claim_after_s

    def start(self) -> None:
        """Hand over what was pending, then what comes, until `stop()`.

        Ends with UnavailableError when the server has been away for `retry_for_s`.
        """
        keeper = threading.Thread(target=self._show_life, name="redis-stream-life")
        keeper.start()
        try:
            with self._server.explained():
                self._listen()
        finally:
            self._stopping.set()
            keeper.join()

    def stop(self) -> None:
        """End after the entry in hand; what was read and not handed over stays pending."""
        self._stopping.set()

    def acknowledge_batch(self, tokens: Sequence[str]) -> None:
        """Acknowledge entries that every sink has finished.

        While the server is away their ids are noted in the state directory, for the next attempt
        or the next process.
        """
        with self._owing:
            now = time.monotonic()
            if now < self._attempt_at:
                self._consumer_state.note_owed(tokens)
                return
            owed = [*self._consumer_state.owed, *tokens]
            if not owed:
                return
            try:
                self._consumer.acknowledge(owed)
            except redis.exceptions.RedisError as error:
                after = time.monotonic()
                # A host that does not answer must not block the chain most of the time.
                self._attempt_at = after + max(ATTEMPT_S, 4 * (after - now))
                _log.warning("%d entries can't be acknowledged now: %s", len(owed), error)
                self._consumer_state.note_owed(tokens)
            else:
                self._held.difference_update(owed)
                self._consumer_state.forget_owed()

    def close(self) -> None:
        """Acknowledge what is owed, and close the connection."""
        self._closing.close()

    def _leave(self) -> None:
        self._attempt_at = 0.0
        self.acknowledge_batch([])
        if self.state_directory is None:  # no later process takes this consumer's name
            with suppress(redis.exceptions.RedisError):
                self._consumer.leave()

    # Reading

    def _listen(self) -> None:
        outage = Outage(self._retry_for_s)
        while not self._stopping.is_set():
            try:
                self._resume()
                while not self._stopping.is_set():
                    self._hand_over(self._consumer.read(READ_WAIT_S))
                    if self._consumer_state.owed:
                        self.acknowledge_batch([])
                    outage.end()
                    self._claim()
            except redis.exceptions.RedisError as error:
                if _says_group_is_gone(error):
                    self._make_group_again(error)
                    continue
                if outage.note():
                    self.reconnects += 1
                    _log.warning("the connection to %s is lost: %s", self.address, error)
                if self._server.is_final(error, outage):
                    raise
                self.report_waiting(str(self._server.explain(error)))
                self._stopping.wait(outage.next_wait_s())

    def _resume(self) -> None:
        """Hand over the pending entries of this consumer that this process has not handed over.

        At the start these are what the process before left. After a lost connection they are what
        the server has sent and this end has not received.
        """
        self._attempt_at = 0.0
        self.acknowledge_batch([])
        held = self._held.copy()  # before the list: what is acknowledged meanwhile is in neither
        pending = [entry for entry in self._consumer.list_pending() if entry not in held]
        self._take_up(self._consumer.read_again(pending))
        self._claim_at = time.monotonic() + self._claim_after_s

    def _claim(self) -> None:
        """From time to time, take over what silent consumers have pending."""
        if time.monotonic() >= self._claim_at:
            self._claim_at = time.monotonic() + self._claim_after_s / 4
            self._take_up(self._consumer.claim(self._claim_after_s))

    def _take_up(self, parts: Iterable[PendingEntries]) -> None:
        for entries, gone in parts:
            if gone:
                self.lost += len(gone)
                _log.warning(
                    "%d entries of %s were trimmed or deleted while they were pending, and are "
                    "lost: %s to %s",
                    len(gone),
                    self._stream,
                    gone[0],
                    gone[-1],
                )
                self._consumer.acknowledge(gone)
            self._hand_over(entries)
            if self._stopping.is_set():
                return

    def _hand_over(self, entries: Iterable[StreamEntry]) -> None:
        done = []
        for entry, fields in entries:
            if self._stopping.is_set():
                break
            if entry in self._held:
                continue  # the server has forgotten that this consumer has it
            self._held.add(entry)
            if not self._pass_on(_frames_of(fields), entry, entry):
                self._held.discard(entry)
                done.append(entry)
        if done:
            self._consumer.acknowledge(done)

    def _make_group_again(self, error: Exception) -> None:
        _log.warning(
            "the group %s of %s is gone, and is made again from the first entry on: %s",
            self._group,
            self._stream,
            error,
        )
        self._consumer.make_group(existing=True)

    def _show_life(self) -> None:
        """Keep the group from taking this consumer for silent while the chain is full."""
        while not self._stopping.wait(self._claim_after_s / 4):
            with suppress(redis.exceptions.RedisError):
                self._consumer.show_life()


def _says_group_is_gone(error: Exception) -> bool:
    # UNBLOCKED comes to whoever waits for entries while the stream is deleted.
    return str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key"))


def _frames_of(fields: Fields) -> list[bytes]:
    if frames := [fields[name] for name in (b"header", b"payload") if name in fields]:
        return frames
    return [part for pair in fields.items() for part in pair]
