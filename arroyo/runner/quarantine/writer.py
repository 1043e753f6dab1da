"""`QuarantineWriter`: how the messages of one replica get into quarantine, and when they don't."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Sequence

import msgspec

from arroyo.clock import Clock
from arroyo.codec import Batch, Buffer, Encoded, Kind, MessageCodec, Suspect, Unreadable
from arroyo.config.graph import Chain
from arroyo.control.suspect_notes import STACK_CHARACTERS
from arroyo.errors import ArroyoError, DecodeError, StageError, UnavailableError
from arroyo.identifiers import ReplicaName, digest
from arroyo.messages import Message, Origin, origin_key
from arroyo.protocol.values.actions import PutInQuarantine
from arroyo.protocol.values.batches import Position
from arroyo.protocol.values.bounded_table import drop_oldest
from arroyo.protocol.values.deliveries import origins_of
from arroyo.protocol.values.recent_times import RecentTimes
from arroyo.runner.user_code.error_policy import LOGGED_ERRORS, in_words

from .store import NEARLY_FULL, Fill, Quarantine, QuarantineEntry, entry_id

_log = logging.getLogger(__name__)


STREAK_MESSAGES = 10
STREAK_S = 60.0
KEPT_INPUTS = 100
"""What a process keeps of the input that it refuses: the first ones tell what is wrong."""
STARTS = 64
"""Of so many runs, the last ones, the Start is known."""


class StageBrokenError(StageError):
    """Message after message fails, so it is not the messages that are broken."""


class QuarantineWriter:
    """Puts messages of one replica into quarantine."""

    def __init__(
        self,
        store: Quarantine,
        chain: Chain,
        name: ReplicaName,
        codec: MessageCodec,
        clock: Clock,
    ) -> None:
        self.store = store
        self._chain = chain.name
        self._name = name
        self._codec = codec
        self._clock = clock
        self._starts: dict[tuple[str, str], bytes] = {}
        """The last Starts, as they came, by source and run."""
        self.counted: memoryview | list[int] = [0]
        """In its first place: how many messages were quarantined, for the status page."""
        self.as_it_came: Callable[[Message], Message] = lambda message: message
        """Returns a message as it was before the stage's code had it."""
        self._refused_inputs = 0
        # Failures with no success between them tell a broken stage from bad messages.
        self._raised, self._refused, self._unreadable = (RecentTimes(STREAK_S) for _ in range(3))

    def note_control(self, batch: Batch, messages: Iterable[Message]) -> None:
        """Keep Start and Stop of a run for messages that are brought back when it is over.

        Called before the stage's code has them.
        """
        for message in messages:
            packed = self._codec.pack(message)
            if batch.kind == Kind.START:
                self._starts[batch.source, batch.run] = packed
                drop_oldest(self._starts, self._starts, STARTS)
            else:
                with contextlib.suppress(OSError):  # then it comes back with a plain Stop
                    self.store.runs.note_stop(self._name.stage, batch.source, batch.run, packed)

    def put(self, message: Message, error: BaseException, attempts: int) -> None:
        """Quarantine a message that the stage's code raised on.

        StageBrokenError: it is one of too many in a row; it stays in the chain.
        UnavailableError: it can't be kept; it stays in the chain.
        """
        self._require_other_ends(self._raised, error)
        self._put_raised(message, self.as_it_came(message), error, attempts)

    def put_refused(self, message: Message, error: BaseException) -> None:
        """Quarantine a message that the stage had published, and that was refused later.

        Errors as in `put`.
        """
        self._require_other_ends(self._refused, error)
        self._put_raised(message, message, error, attempts=1)

    def _put_raised(
        self, message: Message, content: Message, error: BaseException, attempts: int
    ) -> None:
        origin = message.origin
        assert origin is not None
        entry = self._entry(
            origin,
            key=message.key,
            type=type(message).__name__,
            reason=f"raised {in_words(error)}",
            stack="".join(traceback.format_exception(error))[-STACK_CHARACTERS:],
            attempts=attempts,
        )
        # Whoever tried the message has warned of what its code raised.
        self._put(entry, self._codec.pack(content), level=logging.INFO)

    def put_unreadable(self, batch: Batch, position: Position, found: Unreadable) -> None:
        """Quarantine one message of a batch that can't be read; errors as in `put`."""
        self._put_unread(batch, position, found.error, found.packed, found.type)

    def put_frames(self, batch: Batch, frames: Sequence[Buffer], error: Exception) -> None:
        """Quarantine the frames of a batch of which nothing can be read; errors as in `put`."""
        first = batch.ranges[0][0] if batch.ranges else batch.base
        content = msgspec.msgpack.encode([bytes(frame) for frame in frames])
        self._put_unread(batch, (first, ()), error, content)

    def put_input(self, frames: Sequence[Buffer], name: str, reason: str) -> None:
        """Keep input that was refused, and so never was a message. From any thread.

        Not where much is in quarantine already: a stranger's input must hold nothing up.
        """
        self._refused_inputs += 1
        if self._refused_inputs == 1:
            _log.warning("what is refused is kept: see 'arroyo quarantine list %s'", self._chain)
        if self._refused_inputs > KEPT_INPUTS:
            return
        content = msgspec.msgpack.encode([bytes(frame) for frame in frames])
        entry = self._entry(
            Origin(run="", source=str(self._name), epoch=0, sequence=-1),
            key=name or "input",
            type="",
            reason=f"refused: {reason}",
            attempts=1,
        )
        # What comes again, since its sender or its broker repeats it, is there once.
        number = digest(self._name.stage.encode() + content)
        with contextlib.suppress(ArroyoError, OSError):
            if self.store.fill().share < NEARLY_FULL[0]:
                self.store.put(msgspec.structs.replace(entry, id=number), content)

    def _put_unread(
        self,
        batch: Batch,
        position: Position,
        error: Exception,
        content: bytes,
        type: str = "",
    ) -> None:
        self._require_other_ends(self._unreadable, error)
        control = "" if batch.kind == Kind.EVENTS else Kind(batch.kind).name.lower()
        sequence, fragment = position
        origin = origins_of(batch)(batch.base - 1 if control else sequence, fragment)
        entry = self._entry(
            origin,
            key=origin_key(origin, control),
            type=type,
            reason=f"can't be read: {error}",
            attempts=1,
        )
        number = entry_id(self._name.stage, origin, control)
        self._put(msgspec.structs.replace(entry, id=number), content)

    def put_item(self, action: PutInQuarantine, decode: Callable[[Encoded], Message]) -> bool:
        """Keep a message that has ended too many processes; False where that can't be."""
        suspect = action.suspect
        try:
            message = decode(action.item)
            start = b"" if action.start is None else self._codec.pack(decode(action.start))
            self.put_suspect(action.header, message, suspect, action.deaths, start)
        except (UnavailableError, DecodeError) as error:
            # It stays in the ledger; the next death is the next occasion.
            _log.error("a message that ends processes can't be kept: %s", error)
            return False
        return True

    def put_suspect(
        self, batch: Batch, message: Message, suspect: Suspect, deaths: int, start: bytes = b""
    ) -> None:
        """Quarantine a message, as the source had it, that processes of a stage have died of."""
        origin = origins_of(batch)(suspect.sequence, ())
        if batch.returned is not None:
            origin = origin._replace(path=batch.returned.path)
            start = batch.returned.start
        message._origin = origin
        entry = self._entry(
            origin,
            key=message.key,
            type=type(message).__name__,
            reason=suspect.reason,
            stack=suspect.stack[:STACK_CHARACTERS],
            attempts=deaths,
        )
        failed_at = {"stage": suspect.stage, "replica": suspect.replica}
        number = entry_id(suspect.stage, origin)
        enters = batch.enters or entry.enters
        entry = msgspec.structs.replace(entry, id=number, enters=enters, **failed_at)
        self._put(entry, self._codec.pack(message), start)

    def note_success(self) -> None:
        """The stage's code has worked on a message."""
        self._raised.forget()

    def note_accepted(self) -> None:
        """A message that the stage has published was not refused."""
        self._refused.forget()

    def note_readable(self) -> None:
        """A message could be read."""
        self._unreadable.forget()

    def _require_other_ends(self, streak: RecentTimes, error: BaseException) -> None:
        if streak.note(self._clock.monotonic()) > STREAK_MESSAGES:
            raise StageBrokenError(
                f"stage {self._name.stage} is broken, not its messages: more than "
                f"{STREAK_MESSAGES} within {STREAK_S:g} s had to be put into quarantine, and "
                f"none came through between them; the last: {in_words(error)}. "
                "They stay in the chain and come again; mend the stage, then start it"
            ) from error

    def _entry(
        self,
        origin: Origin,
        *,
        key: str,
        type: str,
        reason: str,
        attempts: int,
        stack: str = "",
    ) -> QuarantineEntry:
        return QuarantineEntry(
            id=entry_id(self._name.stage, origin),
            time=self._clock.wall(),
            chain=self._chain,
            stage=self._name.stage,
            replica=self._name.replica,
            source=origin.source,
            run=origin.run,
            epoch=origin.epoch,
            sequence=origin.sequence,
            fragment=origin.fragment,
            path=origin.path,
            key=key,
            type=type,
            reason=reason,
            stack=stack,
            attempts=attempts,
            enters=self._name.stage,
        )

    def _put(
        self,
        entry: QuarantineEntry,
        message: bytes,
        start: bytes = b"",
        *,
        level: int = logging.WARNING,
    ) -> None:
        start = start or self._starts.get((entry.source, entry.run), b"")
        self._warn(self.store.put(entry, message, start), len(message), entry.chain)
        self.counted[0] += 1
        _log.log(
            level if self.counted[0] <= LOGGED_ERRORS else logging.INFO,
            "%s is in quarantine (%s): see 'arroyo quarantine show %s %s'",
            entry.key,
            entry.reason,
            entry.chain,
            entry.id,
        )

    @staticmethod
    def _warn(fill: Fill, message_bytes: int, chain: str) -> None:
        """Say that the quarantine fills, while there is time to do something about it."""
        before = Fill(fill.messages - 1, fill.bytes - message_bytes)
        for share in NEARLY_FULL:
            if before.share < share <= fill.share:
                _log.warning(
                    "the quarantine is %.0f %% full (%d messages, %d MiB): when it is full, stages "
                    "that have to put a message there stand still; look at 'arroyo quarantine list "
                    "%s', and requeue or drop what is there",
                    100 * share,
                    fill.messages,
                    fill.bytes >> 20,
                    chain,
                )
