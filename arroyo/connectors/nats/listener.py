"""Listener to a NATS JetStream stream: one message has a header `arroyo` and the payload as body.

The server keeps messages, and the position up to which they are finished. So a listener goes on
where it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from arroyo.connectors.consumer_state import ConsumerState
from arroyo.connectors.parsing import ParsingListener, TolerantParser, make_parser
from arroyo.connectors.retrying import Outage
from arroyo.errors import ConfigurationError
from arroyo.stages import Frame, MessageParser, Processor

from .client import FAILED, HEADER, Servers
from .consumer import ConsumerGoneError, DurableConsumer
from .session import NATSSession

_log = logging.getLogger(__name__)


class NATSListener(ParsingListener):
    """Receives the messages of a subject from a stream of JetStream.

    **It is replayable.** A message is acknowledged when every sink has finished it, and not
    before. After any death of this stage the messages in flight come again, in the order of the
    stream and under their old keys. Its token is the message's sequence in the stream.

    It reads as one durable consumer, in order, and so has one replica. To share the work, give the
    stage below several; to share a stream, give each listener a part of its subjects.

    A message that can't be read is counted in `rejected`, logged by its sequence and acknowledged.

    The parser gets the subject, the header ``arroyo`` if there is one, and the body.

    Parameters
    ----------
    operator
        Gets the messages.
    stream
        Name of the stream, which has to exist.
    subject
        Which messages of the stream, by subject; may have wildcards (``frames.*``, ``frames.>``).
    servers
        ``nats://host:port``, or ``tls://``, or a list of several of one cluster; without a
        password.
    durable
        Name of the consumer: the server shows it as ``NAME-a`` or ``NAME-b``. By default one that
        is made once and kept in the state directory.
    existing
        Whether a new consumer begins with the messages that are in the stream already.
    user
        Name to log in with, where the server wants one.
    password_env, token_env
        Names of the environment variables that hold the password, or the token.
    parser
        ``"arroyo"``, ``"raw"`` (subject in ``metadata["topic"]``), ``"module:Class"``, or a
        `MessageParser`.
    retry_for_s
        How long to try again after the connection was lost, in s; then the stage ends, and is
        started again for as long as it takes.
    """

    replayable: ClassVar[bool] = True
    shares_input: ClassVar[bool] = False

    def __init__(
        self,
        operator: Processor,
        stream: str,
        subject: str,
        servers: Servers = "nats://127.0.0.1:4222",
        *,
        durable: str | None = None,
        existing: bool = True,
        user: str | None = None,
        password_env: str | None = None,
        token_env: str | None = None,
        parser: MessageParser | str = "arroyo",
        retry_for_s: float = 10.0,
    ) -> None:
        super().__init__(operator)
        _require_name("stream", stream)
        if durable is not None:
            _require_name("durable", durable)
        self.reconnects = 0
        """How often the connection was lost, since the start."""
        self._stream = stream
        self._subject = subject
        self._durable = durable
        self._existing = existing
        self._parser = TolerantParser(make_parser(parser, has_topic=True))
        self._retry_for_s = retry_for_s
        self._session = NATSSession(
            "NATSListener", servers, user=user, password_env=password_env, token_env=token_env
        )
        self._consumer: DurableConsumer | None = None
        self._stopping = threading.Event()
        self._telling = threading.Lock()
        self._held: dict[int, str] = {}
        """Sequences of unacknowledged messages, in order, with their reply subjects; the subject is
        empty until the server has delivered the message again."""
        self._refused: set[int] = set()
        """Those among them that could not be read."""
        self._finished: int | None = None
        """Sequence up to which everything is finished."""
        self._told = 0
        """Sequence up to which the server or the state directory knows that."""
        self._handed = 0
        """The last sequence that was handed over or refused."""

    def open(self) -> None:
        """Connect, and continue the consumer where it was; UnavailableError without the stream."""
        self._session.open()
        self._consumer_state = ConsumerState(self.state_directory)
        if self._consumer_state.owed:
            self._finished = max(map(int, self._consumer_state.owed))
        name = self._durable or self._consumer_state.name.replace(".", "-")
        self._consumer = DurableConsumer(self._session, self._stream, self._subject, name)
        with self._session.explained():
            self._resume()
        self._session.at_loss = self._consumer.wake

    def start(self) -> None:
        """Hand over what is not acknowledged, then what comes, until `stop()`.

        Ends with UnavailableError when the server has been away for `retry_for_s`.
        """
        with self._session.explained():
            self._listen()

    def stop(self) -> None:
        """End after the message in hand; what was read but not handed over comes again."""
        self._stopping.set()
        if self._consumer is not None:
            self._consumer.wake()

    def acknowledge_batch(self, tokens: Sequence[int]) -> None:
        """Acknowledge messages that every sink has finished.

        While the server is away they are noted in the state directory, for the next process.
        """
        with self._telling:
            self._finished = max(self._finished or 0, tokens[-1])
            self._tell()

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer_state.close()
            if self._durable is None and self.state_directory is None:
                # No later process takes this consumer's name.
                with suppress(*FAILED):
                    self._consumer.delete()
        self._consumer = None
        self._session.close()

    # Reading

    def _listen(self) -> None:
        assert self._consumer is not None
        outage = Outage(self._retry_for_s)
        resumed = True  # open() has
        while not self._stopping.is_set():
            try:
                if not resumed:
                    if not self._session.is_connected:
                        self._session.connect()
                    self._resume()
                    resumed = True
                    outage.end()
                self._read(self._consumer)
                continue
            except ConsumerGoneError as error:
                _log.warning("the consumer of %s is made anew: %s", self._stream, error)
            except FAILED as error:
                if outage.note():
                    self.reconnects += 1
                    _log.warning("the connection to %s is lost: %s", self._session.address, error)
                if self._session.is_final(error, outage):
                    raise
                self.report_waiting(str(self._session.explain(error)))
            resumed = False
            self._stopping.wait(outage.next_wait_s())

    def _resume(self) -> None:
        assert self._consumer is not None
        finished = self._consumer.renew(self._finished, existing=self._existing)
        with self._telling:
            if finished is None:
                _log.warning(
                    "the stream %s was made anew; it is read from its first message on",
                    self._stream,
                )
                self._held.clear()
                self._refused.clear()
                self._handed = 0
            self._finished = self._told = finished or 0
            self._handed = min(self._handed, self._consumer.end)
            self._held = dict.fromkeys(self._held, "")

    def _read(self, consumer: DurableConsumer) -> None:
        while not self._stopping.is_set():
            taken = consumer.take()
            if taken is None:
                self._session.require_connection()
                continue
            sequence, message = taken
            if self._knows(sequence, message.reply):
                continue
            self._handed = sequence
            with self._telling:
                self._held[sequence] = message.reply
            self._hand_over(sequence, _frames_of(message.subject, message.headers, message.data))

    def _knows(self, sequence: int, reply: str) -> bool:
        """Return True if a message was handed over before; then keep its reply subject."""
        with self._telling:
            if sequence > max(self._handed, self._finished or 0):
                return False
            self._held[sequence] = reply
            if sequence <= (self._finished or 0):
                self._tell()
            return True

    def _hand_over(self, sequence: int, frames: list[Frame]) -> None:
        if self._pass_on(frames, sequence, f"message {sequence}"):
            return
        with self._telling:
            self._refused.add(sequence)
            self._tell()

    # Acknowledging

    def _tell(self) -> None:
        """Acknowledge what is finished and not acknowledged."""
        assert self._consumer is not None
        replies = self._settle()
        finished = self._finished or 0
        if not replies and finished <= self._told:
            return
        self._told = finished
        try:
            if replies:
                self._consumer.acknowledge(replies)
                self._consumer_state.forget_owed()
                return
        except FAILED as error:
            _log.warning("messages up to %d can't be acknowledged now: %s", finished, error)
        self._consumer_state.note_owed([str(finished)])

    def _settle(self) -> list[str]:
        """Drop what is finished, and what was refused with nothing unfinished before it.

        Returns
        -------
        The reply subjects to acknowledge.
        """
        done = []
        for sequence in self._held:
            if sequence in self._refused:
                self._refused.discard(sequence)
                self._finished = max(self._finished or 0, sequence)
            elif sequence > (self._finished or 0):
                break
            done.append(sequence)
        # Some that were delivered again stand behind later ones, and the last reply counts for all.
        replies = [self._held.pop(sequence) for sequence in sorted(done)]
        return [reply for reply in replies if reply]


def _frames_of(subject: str, headers: dict[str, str] | None, body: bytes) -> list[Frame]:
    header = (headers or {}).get(HEADER)
    frames: list[Frame] = [subject.encode()]
    if header is not None:
        frames.append(header.encode())
    return [*frames, body]


def _require_name(option: str, name: str) -> None:
    if not name or any(sign in ".*>/\\" or sign.isspace() for sign in name):
        raise ConfigurationError(
            f"NATSListener: {option} is {name!r}; expected a name without dots, wildcards, "
            "slashes and spaces"
        )
