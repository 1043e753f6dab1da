"""`AllocatedArrays`: arrays in shared memory that a stage's code fills and sends without a copy."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from arroyo.codec import Buffer
from arroyo.messages import SlabReference

from .pool import Slab, SlabPool

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class AllocatedArrays:
    """The arrays that were not sent yet; each pins the slab in which it lies."""

    def __init__(self) -> None:
        self._slabs: dict[int, Slab] = {}
        """By the id of the array."""

    def make(
        self, pool: SlabPool, slab: Slab, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return an array that fills a slab, which was taken pinned."""
        import numpy as np

        array = np.ndarray(shape, dtype, slab.data)
        self._slabs[id(array)] = slab
        weakref.finalize(array, self._forget, pool, id(array), slab.reference)
        return array

    def take(self, payload: Buffer, length: int) -> SlabReference | None:
        """Return the slab of which a payload is the whole; it counts as sent from now on."""
        found: Any = payload.obj if isinstance(payload, memoryview) else None
        while found is not None and self._slabs:
            slab = self._slabs.get(id(found))
            if slab is not None:
                if slab.reference.length != length:
                    return None
                del self._slabs[id(found)]
                return slab.reference
            found = getattr(found, "base", None)
        return None

    def _forget(self, pool: SlabPool, array: int, reference: SlabReference) -> None:
        """Unpin the slab of an array that has died; free it if it was not sent.

        A finalizer: it may run at any time, also within a call of this object.
        """
        never_sent = self._slabs.pop(array, None) is not None
        pool.unpin(reference, give_back=never_sent)
