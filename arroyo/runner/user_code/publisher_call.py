"""`PublisherCall`: calls of one publisher's `publish()`, or `publish_batch()`, and `flush()`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from arroyo.codec import Reason
from arroyo.config.graph import Stage
from arroyo.errors import RefusedError
from arroyo.messages import Message, Origin, Start, Stop
from arroyo.protocol.values.deliveries import Output, Work
from arroyo.stages import Publisher

from .current_message import CurrentMessage
from .error_policy import ErrorPolicy, Failure, require_users_own
from .list_call import ListCall
from .methods import StageMethods
from .results import QUARANTINED, SKIPPED, ListedResults

if TYPE_CHECKING:
    from arroyo.runner.quarantine.writer import QuarantineWriter

PendingFlush: TypeAlias = Callable[[], Mapping[Origin, Reason] | None]
"""Tells how those events have ended that a flush has refused; None as long as it is under way."""


class PublisherCall:
    """`publish()` of one publisher, or `publish_batch()` where it has that.

    Parameters are as those of `OperatorCall`.
    """

    def __init__(
        self,
        stage: Stage,
        publisher: Publisher,
        current: CurrentMessage,
        *,
        quarantine: QuarantineWriter | None = None,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        self._current = current
        self._events: ErrorPolicy[Work, list[Output | None]]
        self._events = ErrorPolicy(
            stage,
            self._work_on,
            list,
            skipped=SKIPPED,
            quarantined=QUARANTINED,
            quarantine=quarantine,
            due=current.due,
        )
        self._controls: ErrorPolicy[Message, list[Output | None]]
        self._controls = ErrorPolicy(
            stage,
            self._work_on_controls,
            list,
            skipped=SKIPPED,
            quarantined=SKIPPED,
            quarantine=None,
        )
        self.methods = StageMethods(publisher)
        self._unflushed = 0
        """Messages that were published since the last flush began."""
        self._hears: Callable[[Message], Any] = getattr(publisher, "publish", lambda _: None)
        """What gets Start and Stop."""
        self._lists = ListCall(
            self.methods, "publish", self._finish_list, self._events, current, restore=restore
        )
        self._publish, self._method = self._lists.single, self._lists.method
        self.takes_lists = self._lists.takes_lists
        """Whether it publishes all messages of a batch at once."""

    @property
    def errors(self) -> int:
        """How often it has raised."""
        return self._events.errors + self._controls.errors

    def events(
        self, work: Sequence[Work], results: ListedResults | None = None
    ) -> list[Output | None]:
        """Publish messages between Start and Stop; None: done.

        Once results are due, those are left out that were not begun.

        `results`: where others may see meanwhile what has been done.
        """
        results = ListedResults() if results is None else results
        if not self._lists.work_together(work, results):
            self._events.run(work, results)
        return results

    def _finish_list(self, work: Sequence[Work], returned: Any) -> list[None]:
        self.methods.finish(returned, "publish_batch")
        self._unflushed += len(work)
        return [None] * len(work)

    def make_results(self) -> ListedResults:
        """Make what `events` appends to."""
        return ListedResults()

    def control(self, message: Message) -> Output | None:
        """Publish a Start or Stop."""
        return self._controls.run((message,))[0]

    def _work_on(self, left: Iterator[Work], done: list[Output | None]) -> Failure[Work] | None:
        publish, method = self._publish, self._method
        current = self._current
        due, word, make_origin = current.due, current.sequence, current.make_origin
        before = len(done)
        try:
            for sequence, fragment, message in left:
                word[0] = sequence
                message._make_origin = make_origin
                message._origin = sequence
                if fragment:
                    current.note_part(message, sequence, fragment)
                returned = publish(message)
                if returned is not None:
                    self.methods.finish(returned, method)
                    returned = None
                done.append(None)
                if due:
                    break
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            return (sequence, fragment, message), error
        finally:
            self._unflushed += len(done) - before
        return None

    def _work_on_controls(
        self, left: Iterator[Message], done: list[Output | None]
    ) -> Failure[Message] | None:
        try:
            for message in left:
                self.methods.finish(self._hears(message), "publish")
                done.append(None)
                self._unflushed += 1
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            return message, error
        return None

    @property
    def flushes(self) -> bool:
        """Return True if what was published is finished only after a `flush()`."""
        return getattr(self.methods.made, "flush", None) is not None

    def flush(self) -> Mapping[Origin, Reason]:
        """Call the publisher's `flush()`, if it has one.

        Returns how those events have ended that the outside has refused; all others are published.
        """
        return self._end_flush(self._flush, self._take_unflushed()) or {}

    def begin_flush(self) -> PendingFlush | None:
        """Call the publisher's `begin_flush()`; return what tells how it goes, None without one."""
        is_over = self.methods.call("begin_flush")
        if is_over is None:
            return None
        count = self._take_unflushed()

        def look() -> bool:
            return bool(self.methods.call_part(is_over, "begin_flush"))

        return lambda: self._end_flush(look, count)

    def _flush(self) -> bool:
        self.methods.call("flush")
        return True

    def _take_unflushed(self) -> int:
        count, self._unflushed = self._unflushed, 0
        return count

    def _end_flush(self, is_over: Callable[[], bool], count: int) -> Mapping[Origin, Reason] | None:
        """Return what a flush of so many messages has refused; None: it is not over."""
        try:
            if not is_over():
                return None
        except RefusedError as error:
            return dict(self._refuse(error.refused, others=count > len(error.refused)))
        if count:
            self._events.note_accepted()
        return {}

    def _refuse(
        self, refused: Iterable[tuple[Message, Exception]], *, others: bool
    ) -> Iterator[tuple[Origin, Reason]]:
        """Give messages up; `others`: those published with them were accepted."""
        for message, error in refused:
            if isinstance(message, Start | Stop):
                self._controls.refuse(message, error)
                continue
            if others:
                self._events.note_accepted()
            output: Output = self._events.refuse(message, error)
            if message.origin is not None and output.reason is not None:
                yield message.origin, output.reason
