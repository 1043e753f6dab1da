"""What stages have from their base: they report that they wait, and get arrays to be sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class WaitingStage:
    """Base of all stages, with `report_waiting()`."""

    _on_waiting: Callable[[str], bool] | None = None

    def report_waiting(self, why: str = "") -> bool:
        """Report that `start()`, `process()` or `publish()` waits or works on, and is not hung.

        A stage with one message in hand for `process_timeout_s` is hung, and restarted if it is
        supervised. Each call of this restarts that time, so call it about once a second while
        waiting for something outside (a receiver, a server, a door), from the thread that waits.
        It takes some microseconds at most, and does nothing outside a chain.

        Parameters
        ----------
        why
            What is waited for, in a sentence: ``the door of hutch 2 is open; close it``. It is
            shown by `arroyo status`, with since when, for 5 s after each call.

        Returns
        -------
        Whether the stage was told to stop. Then end the wait soon: if it was in vain, raise
        `UnavailableError`, and the message stays with its source.
        """
        return self._on_waiting is not None and self._on_waiting(why)


class AllocatingStage:
    """Base of listeners and operators, with `allocate()`."""

    _on_allocate: Callable[..., NDArray[Any]] | None = None

    def allocate(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array to be filled and sent whole by ``Event.from_array``.

        In a chain an array of 16 KiB or more is in shared memory, so sending it copies nothing; any
        other array is copied once. Its first content is arbitrary. Do not write into it after the
        event was handed over: then other stages read it.

        Parameters
        ----------
        shape
            C order, slowest axis first.
        dtype
            Any type of numpy without Python objects.
        """
        if self._on_allocate is not None:
            return self._on_allocate(shape, dtype)
        import numpy as np

        return np.empty(shape, dtype)
