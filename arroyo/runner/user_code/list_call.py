"""`ListCall`: calls of a method that takes lists, `process_batch()` or `publish_batch()`.

Rules:
- The list is the batch as it came, and what comes of it is there when the method has returned.
- `process_batch()` returns one result for each message (`stages.require_results`). Any other number
  counts as an error that the method raised.
- A list that the method raises on, or whose results can't be sent, leaves nothing: each of its
  messages is tried alone, as it came, so the one that is to blame goes the way that ``on_error``
  says.
- A list that may hold a message which has ended processes is not made: PROTOCOL 42.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.messages import Event, Fragment, Message, Origin
from arroyo.protocol.values.deliveries import LazyWork, Work
from arroyo.stages import call_single, find_list_method

from .current_message import CurrentMessage
from .error_policy import ErrorPolicy, require_users_own
from .methods import StageMethods


class ListCall:
    """A stage's method that takes lists, if it has one.

    Parameters
    ----------
    methods, method
        Those of the stage's object, and the name of the one that takes one message.
    finish
        Makes outcomes of what it has returned for a list; may raise what a user has to hear.
    singles
        Tries single messages; is told how the lists do.
    restore
        Makes all messages of the batch again what they were when they came.
    """

    def __init__(
        self,
        methods: StageMethods,
        method: str,
        finish: Callable[[Sequence[Work], Any], Any],
        singles: ErrorPolicy[Work, Any],
        current: CurrentMessage,
        *,
        restore: Callable[[], None],
    ) -> None:
        made = methods.made
        takes_list = self._takes_list = find_list_method(made, method)
        self.takes_lists = takes_list is not None
        self.single: Callable[[Message], Any]
        """What gets one Event,"""
        self.method: str
        """and its name."""
        if takes_list is None:
            self.single, self.method = getattr(made, method), method
        else:
            self.single, self.method = call_single(takes_list, method), f"{method}_batch"
        self._finish = finish
        self._singles = singles
        self._current = current
        self._awaiter = methods.awaiter
        self._restore = restore

    def work_together(self, work: Sequence[Work], outcomes: Any) -> bool:
        """Append what becomes of each message of a list.

        Returns False, and has appended nothing, where they have to be tried one by one; raises what
        `ErrorPolicy.run` would.
        """
        takes_list = self._takes_list
        if takes_list is None or len(work) < 2 or self._current.singly:
            return False
        try:
            found = self._call(takes_list, work)
        except BaseException as error:  # noqa: BLE001  (users' code may raise anything)
            require_users_own(error)
            self._singles.report_list(len(work), error)
            self._current.singly = True  # also what is left when some of them have gone on
            self._restore()
            return False
        # Only now, when nothing here holds the messages any more: what is there may be sent on by
        # the link thread, and a message that is held then counts as kept by the stage's code.
        outcomes.extend(found)
        self._singles.note_worked()
        return True

    def _call(self, takes_list: Callable[[list[Message]], Any], work: Sequence[Work]) -> Any:
        current = self._current
        messages = _place(work, current.make_origin)
        current.sequence[0], current.end[0] = work[0][0], work[-1][0] + 1
        try:
            returned = takes_list(messages)
            if inspect.isawaitable(returned):
                returned = self._awaiter.finish(returned)
        finally:
            current.end[0] = 0
        return self._finish(work, returned)


def _place(work: Sequence[Work], make_origin: Callable[[int, Fragment], Origin]) -> list[Message]:
    """Return the messages, once each knows its place in the run."""
    if isinstance(work, LazyWork):
        return work.place(make_origin)
    for sequence, fragment, message in work:
        message._make_origin = make_origin
        message._origin = (sequence, fragment) if fragment else sequence
    return [message for _, _, message in work]


class OwnPayloads:
    """Has the results of a list refer to the payloads of no other messages than their own.

    A payload that is passed on stays in its slab of shared memory. That is given back when its own
    message is finished, and a result that belongs to another message may need it for longer.
    """

    def __init__(self, work: Sequence[Work]) -> None:
        self._work = work
        self._views: set[int] | None = None
        """Ids of the payloads of all messages, when they have been asked for."""

    def own(self, message: Message, result: Any) -> Any:
        """Return the result of a message, with copies of the payloads of others."""
        if isinstance(result, Event):
            payload = result.payload
            is_own = payload is getattr(message, "payload", None)
            if is_own or type(payload) is not memoryview or not self._came(payload):
                return result
            return msgspec.structs.replace(result, payload=bytes(payload))
        if isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
            return [self.own(message, each) for each in result]
        return result

    def _came(self, payload: memoryview) -> bool:
        """Return True if a payload came with one of the messages."""
        if self._views is None:
            self._views = {id(getattr(message, "payload", None)) for *_, message in self._work}
        return id(payload) in self._views
