"""The thread in which a listener's `start()` runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from arroyo.errors import ArroyoError, StageError
from arroyo.runner.user_code.error_policy import in_words
from arroyo.runner.user_code.methods import StageMethods
from arroyo.stages import Listener

LAST_WAIT_S = 5.0
"""How long the end of a listener's thread is waited for when everything else has ended."""


class ListenerThread:
    """Runs `listener.start()`; `ended` and then `error` tell how it went.

    `methods`: of the listener; an async one runs on the event loop of `open()` and `close()`.
    `wake`: called at its end, from its thread.
    """

    def __init__(self, listener: Listener, methods: StageMethods, wake: Callable[[], None]) -> None:
        self.ended = False
        self.error: ArroyoError | None = None
        self._listener = listener
        self._methods = methods
        self._wake = wake
        self._stopped = False
        self._acknowledge: Callable[[Any], Any] | None = getattr(listener, "acknowledge", None)
        self._acknowledge_batch: Callable[[list[Any]], Any] | None
        self._acknowledge_batch = getattr(listener, "acknowledge_batch", None)
        # A daemon: a `start()` that does not return must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="arroyo-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._methods.call("start")
        except ArroyoError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001  (`sys.exit()` would end this thread alone)
            self.error = StageError(
                f"{type(self._listener).__name__}.start() raised {in_words(error)}"
            )
            self.error.__cause__ = error
        self.ended = True
        self._wake()

    def acknowledge(self, tokens: Iterable[Any]) -> None:
        """Tell the listener, if it wants to know, that messages with these tokens are finished."""
        if self._acknowledge_batch is not None:
            if known := [token for token in tokens if token is not None]:
                self._acknowledge_batch(known)
        elif self._acknowledge is not None:
            for token in tokens:
                if token is not None:
                    self._acknowledge(token)

    def stop(self) -> None:
        """Ask `start()` to return, once.

        What `stop()` raises is an error of the listener; what it has handed over goes on.
        """
        if not self._stopped and not self.ended:
            self._stopped = True
            try:
                self._methods.call("stop")
            except ArroyoError as error:
                self.error = self.error or error

    def join(self, timeout_s: float = LAST_WAIT_S) -> None:
        """Wait a little for the thread's end, so that `close()` has the listener for itself."""
        self._thread.join(timeout_s)
