"""`AllocatingStage`: arrays that are sent without being copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class AllocatingStage:
    """What listeners and operators share: a place to put large results right away."""

    _on_allocate: Callable[..., NDArray[Any]] | None = None

    def allocate(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array to be filled and sent whole by ``Event.from_array``.

        In a chain, one of 16 KiB or more lies in the shared memory that messages travel through,
        so that sending it copies nothing; an array of any other origin is copied once. The
        content is arbitrary at first. Once the event has been handed over, the array belongs to
        those who read it: do not write into it again.

        Parameters
        ----------
        shape
            C order, slowest axis first.
        dtype
            Any of numpy's types without Python objects.
        """
        if self._on_allocate is not None:
            return self._on_allocate(shape, dtype)
        import numpy as np

        return np.empty(shape, dtype)
