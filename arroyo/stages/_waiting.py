"""`WaitingStage`: how a stage's code says that it waits for the outside world."""

from __future__ import annotations

from collections.abc import Callable


class WaitingStage:
    """What operators and publishers share: a way to say "I am well, and I wait"."""

    _on_waiting: Callable[[], bool] | None = None

    def report_waiting(self) -> bool:
        """Say that this `process()` or `publish()` is not hung: it waits, or works on.

        A message that has been in hand for `process_timeout_s` counts as hung, and a supervised
        stage is then started again. Each call of this begins that time anew, so call it about
        once a second while waiting for something outside (a receiver, a server, a door), from
        the thread that waits. It costs less than a microsecond, and outside a chain nothing.

        Returns
        -------
        Whether the stage has been asked to stop. End the wait soon then: if nothing comes of it,
        raise `UnavailableError`, and the message stays with its source.
        """
        return self._on_waiting is not None and self._on_waiting()
