"""Listener to a Redis stream: one message is one entry with the fields `header` and `payload`.

The server keeps entries, and which consumer has which of them. So a listener goes on where it was,
and several share a stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import ClassVar

from arroyo.errors import ConfigurationError, EncodeError
from arroyo.stages import Listener, MessageParser, Processor

from ._consumer_memory import ConsumerMemory
from ._parsing import TolerantParser, make_parser
from ._redis_client import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    choose_url,
    connect,
    explained,
    passes,
    redis,
)
from ._redis_group import Entry, Fields, Found, GroupConsumer

READ_WAIT_S = 0.1
"""How long one read waits, and so how long `stop()` may take, in s."""
ATTEMPT_S = 1.0
"""After an acknowledgement that did not reach the server, it is tried again so much later."""

_log = logging.getLogger(__name__)


class RedisStreamListener(Listener):
    """Receives the entries of a stream, as a consumer of a group.

    **It is replayable.** An entry is acknowledged (XACK) when every sink has finished it, and not
    before. After any death of this stage the entries under way come again, in their order and
    under their old keys. Its token is the entry's id. Several replicas, and several chains that
    name the same group, share out the entries; each chain with a group of its own gets them all.
    Start and Stop in the stream reach one replica only: with several, send events without them.

    What a consumer leaves pending that was not heard of for `claim_after_s` is taken over by
    another one. A consumer is a replica with its state directory, so that a replica that comes
    back has its entries at once.

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
        Name of the stream. It is made where there is none.
    group
        Name of the consumer group. It is made where there is none.
    url
        ``redis://host:port/db``, ``rediss://`` for TLS, ``unix://path``; without a password.
        Or give `host`, `port` and `db`.
    existing
        Whether a group that is made takes the entries that are in the stream already.
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
        self.address = choose_url("RedisStreamListener", url, host, port, db)
        self.lost = 0
        """Entries that were pending and are not in the stream any more, since the start."""
        self.reconnects = 0
        """How often the connection was lost, since the start."""
        self._stream = stream
        self._group = group
        self._existing = existing
        self._password_env = password_env
        self._parser = TolerantParser(make_parser(parser))
        self._claim_after_s = claim_after_s
        self._retry_for_s = retry_for_s
        self._client: redis.Redis | None = None
        self._stopping = threading.Event()
        self._held: set[str] = set()
        """Ids that were handed over, and whose acknowledgement the server has not got."""
        self._owing = threading.Lock()
        self._attempt_at = self._claim_at = 0.0

    @property
    def rejected(self) -> int:
        """Entries that could not be read or sent on, since the start."""
        return self._parser.rejected

    def open(self) -> None:
        """Connect, and make the group where there is none.

        Raises
        ------
        ConfigurationError
            The password is wrong or missing, or the key is no stream.
        UnavailableError
            The server can't be reached, or the state directory not be written.
        """
        self._client = connect(self.address, self._password_env)
        self._memory = ConsumerMemory(self.state_directory)
        self._consumer = GroupConsumer(self._client, self._stream, self._group, self._memory.name)
        with explained(self.address):
            self._consumer.make_group(existing=self._existing)
        self._claim_at = time.monotonic() + self._claim_after_s

    def start(self) -> None:
        """Hand over what was pending, then what comes, until `stop()`.

        Raises
        ------
        UnavailableError
            The server was away for `retry_for_s`.
        """
        keeper = threading.Thread(target=self._show_life, name="redis-stream-life")
        keeper.start()
        try:
            with explained(self.address):
                self._listen()
        finally:
            self._stopping.set()
            keeper.join()

    def stop(self) -> None:
        """End after the entry in hand; what was read and not handed over stays pending."""
        self._stopping.set()

    def acknowledge_batch(self, tokens: Sequence[str]) -> None:
        """Every sink has finished these entries.

        While the server is away they are noted in the state directory, for the next attempt or
        the next life.
        """
        with self._owing:
            owed = self._memory.owed
            owed += tokens
            now = time.monotonic()
            if not owed or now < self._attempt_at:
                self._memory.note_owed(tokens)
                return
            try:
                self._consumer.acknowledge(owed)
            except redis.exceptions.RedisError as error:
                after = time.monotonic()
                # A host that does not answer must not hold up the chain most of the time.
                self._attempt_at = after + max(ATTEMPT_S, 4 * (after - now))
                _log.warning("%d entries can't be acknowledged now: %s", len(owed), error)
                self._memory.note_owed(tokens)
            else:
                self._held.difference_update(owed)
                self._memory.forget_owed()

    def close(self) -> None:
        """Acknowledge what is owed, and close the connection."""
        if self._client is None:
            return
        self._attempt_at = 0.0
        self.acknowledge_batch([])
        if self.state_directory is None:
            # Nobody will come back under this name.
            with suppress(redis.exceptions.RedisError):
                self._consumer.leave()
        self._client.close()
        self._client = None

    # Reading

    def _listen(self) -> None:
        away_since: float | None = None
        wait_s = FIRST_WAIT_S
        resumed = False
        while not self._stopping.is_set():
            try:
                if not resumed:
                    self._resume()
                    resumed = True
                self._hand_over(self._consumer.read(READ_WAIT_S))
                if self._memory.owed:
                    self.acknowledge_batch([])
                away_since, wait_s = None, FIRST_WAIT_S
                self._claim()
            except redis.exceptions.RedisError as error:
                resumed = False
                if _says_group_is_gone(error):
                    self._make_group_again(error)
                    continue
                now = time.monotonic()
                if away_since is None:
                    away_since = now
                    self.reconnects += 1
                    _log.warning("the connection to %s is lost: %s", self.address, error)
                if not passes(error) or now - away_since > self._retry_for_s:
                    raise
                self._stopping.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _resume(self) -> None:
        """Hand over what this consumer has and has not handed over in this life.

        At the start that is what the life before has left. After a lost connection it is what
        the server has given and this end has not got.
        """
        self._attempt_at = 0.0
        self.acknowledge_batch([])
        held = self._held.copy()  # before the list: what is acknowledged meanwhile is in neither
        pending = [entry for entry in self._consumer.list_pending() if entry not in held]
        for found in self._consumer.read_again(pending):
            self._take_up(found)
            if self._stopping.is_set():
                return
        self._claim_at = time.monotonic() + self._claim_after_s

    def _claim(self) -> None:
        """Take over what silent consumers have, from time to time."""
        if time.monotonic() < self._claim_at:
            return
        self._claim_at = time.monotonic() + self._claim_after_s / 4
        for found in self._consumer.claim(self._claim_after_s):
            _log.info("%d entries of a silent consumer are taken over", len(found.entries))
            self._take_up(found)
            if self._stopping.is_set():
                return

    def _take_up(self, found: Found) -> None:
        if found.gone:
            self.lost += len(found.gone)
            _log.warning(
                "%d entries of %s were trimmed or deleted while they were pending, and are lost: "
                "%s to %s",
                len(found.gone),
                self._stream,
                found.gone[0],
                found.gone[-1],
            )
            self._consumer.acknowledge(found.gone)
        self._hand_over(found.entries)

    def _hand_over(self, entries: Iterable[Entry]) -> None:
        done = []
        for entry, fields in entries:
            if self._stopping.is_set():
                break
            if entry in self._held:
                continue  # the server has forgotten that this consumer has it
            message = self._parser.parse(_frames_of(fields), entry)
            if message is None:
                done.append(entry)
                continue
            self._held.add(entry)
            try:
                self.operator.process(message, token=entry)
            except EncodeError as error:
                self._held.discard(entry)
                self._parser.reject(error, entry)
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
        """Be heard of by the group while the chain is full, so that nothing is claimed."""
        while not self._stopping.wait(self._claim_after_s / 4):
            with suppress(redis.exceptions.RedisError):
                self._consumer.show_life()


def _says_group_is_gone(error: Exception) -> bool:
    # The second one comes to who waits for entries while the stream is deleted.
    return str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key"))


def _frames_of(fields: Fields) -> list[bytes]:
    if frames := [fields[name] for name in (b"header", b"payload") if name in fields]:
        return frames
    return [part for pair in fields.items() for part in pair]
