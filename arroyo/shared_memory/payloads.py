"""`PayloadStore`: this replica's payloads in shared memory, and its views of those of others.

A large payload is copied into a slab once, where its sender encodes it, and read in place by every
stage after that. It stays until every sink has finished the message: at a source the ledger
says so, at an operator the frontier in the headers that come in. Where shared memory is full or
can't be had, payloads travel inside the messages, and the status page counts them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from arroyo.codec import DETACH_BYTES, Batch, Buffer, Encoded, Shared
from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.errors import AlreadyRunningError, UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.messages import SlabReference

from .allocator import SlabOwner
from .files import pool_name, pool_prefix, sweep
from .pages import LentSlabs, lent_slabs
from .pool import Slab, SlabPool
from .reader import SlabReader
from .source_epochs import SourceEpochs

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

PREFAULT_PAYLOADS = 4
"""A new pool has memory for so many payloads of the size of the first."""
SPARE_WINDOWS = 2
"""A pool is as large as so many windows: the frontier that frees a slab comes a little late."""
_ALL = 1 << 62
"""A frontier that is beyond every sequence."""


class PayloadStore:
    """Payloads of one replica.

    Parameters
    ----------
    chain, name, incarnation
        Who this is, and in which life.
    directory
        The chain's run directory, after which pools are named; None: the whole chain is in this
        process, and payloads travel inside the messages.
    sequence_in_hand
        Tells which message of the batch in hand is being worked on.
    is_alive
        Tells whether a process of a replica runs, whose pools are then left alone.
    """

    def __init__(
        self,
        chain: Chain,
        name: ReplicaName,
        incarnation: int,
        directory: RunDirectory | None,
        *,
        sequence_in_hand: Callable[[], int],
        is_alive: Callable[[ReplicaName], bool],
    ) -> None:
        self._sequence_in_hand = sequence_in_hand
        self._is_alive = is_alive
        self._making = threading.Lock()
        self._name = name
        self._prefix = "" if directory is None else pool_prefix(directory.path)
        self._pool_name = pool_name(self._prefix, name, incarnation)
        self._capacity = SPARE_WINDOWS * max(
            stage.window_bytes for stage in chain.stages.values() if stage.role == "listener"
        )
        # A fold has an epoch for each run, and many at a time.
        self._lives = SourceEpochs(
            str(each)
            for stage in chain.stages.values()
            if stage.role == "listener"
            for each in stage.names
        )
        self._usable = directory is not None and chain.on_one_host
        self._pool: SlabPool | None = None
        self._reader = SlabReader(self._prefix)
        # Views of the batch in hand by their ids, and where they lie.
        self._passing: dict[int, tuple[memoryview, SlabReference]] = {}
        self.together: weakref.ref[LentSlabs] | None = None
        """The one loan of all payloads of the batch in hand; None: each is a loan of its own."""
        # A stage that restores order holds messages beyond the batch that they came in.
        self._holds = chain.stages[name.stage].order == "source"
        self._own_ledger = self._read_any = False
        self.copies = False
        """Whether the stage gets copies of payloads, since it keeps what it gets."""
        self._taken: dict[int, Slab] = {}
        self._batch: Batch | None = None
        self.inline = 0
        """Payloads that found no room."""
        self.sweep()

    def sweep(self) -> None:
        """Remove pools of this chain whose owners are gone, and of former lives of this one."""
        if self._prefix:
            sweep(self._prefix, lambda other: other != self._name and self._is_alive(other))

    # Sending

    def keep(self, payload: Buffer) -> SlabReference | bytes | None:
        """Put a payload into shared memory; see `codec.Keep`.

        One that finds no room is copied: it may lie in a slab that is given back before the
        message has left.
        """
        if passing := self._passing.get(id(payload)):
            return passing[1]
        length = memoryview(payload).nbytes
        pool = self._pool or self._make_pool(length)
        if pool is None:
            return bytes(payload) if self.lends else None
        owner = self._owner_in_hand()
        own = self._own_slab(payload, length)
        if own is not None:
            if owner is not None:
                pool.assign(own, owner)
            return own
        view = memoryview(payload)
        if not view.c_contiguous:
            view = memoryview(view.tobytes())
        reference = pool.write(view, owner)
        if reference is None and self._make_room(pool):
            reference = pool.write(view, owner)
        if reference is None:
            self._note_inline(length)
            return bytes(view)
        return reference

    def _note_inline(self, length: int) -> None:
        if not self.inline:
            _log.warning(
                "there is no room in shared memory for a payload of %d bytes (the pool may have "
                "%d bytes): where that is so, payloads travel inside the messages, which takes "
                "longer; `arroyo status` counts them as inline. See whether /dev/shm is full",
                length,
                self._capacity,
            )
        self.inline += 1

    def _make_room(self, pool: SlabPool) -> bool:
        """Free what belongs to former lives of sources: nobody will ever finish that.

        It may still be read by somebody whose results nobody takes any more.
        """
        freed = [
            pool.reclaim(source, epoch, _ALL)
            for source, epoch in pool.lives()
            if self._lives.is_over(source, epoch)
        ]
        return any(freed)

    def _owner_in_hand(self) -> SlabOwner | None:
        """The message whose end frees what is kept now; at a source or fold the ledger does it."""
        batch = self._batch
        if batch is None or self._own_ledger:
            return None
        return SlabOwner(batch.source, batch.epoch, self._sequence_in_hand())

    def allocate(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array to be filled and sent; where it can be, it lies in a slab already."""
        import numpy as np

        kind = np.dtype(dtype)
        dimensions = (shape,) if isinstance(shape, int) else tuple(shape)
        length = math.prod(dimensions) * kind.itemsize
        pool = self._pool
        if pool is None and length >= DETACH_BYTES:
            pool = self._make_pool(length)
        slab = None
        if pool is not None and length >= DETACH_BYTES:
            slab = pool.take(length, pinned=True)
            if slab is None and self._make_room(pool):
                slab = pool.take(length, pinned=True)
        if slab is None:
            return np.empty(dimensions, kind)
        array = np.ndarray(dimensions, kind, slab.data)
        self._taken[id(array)] = slab
        weakref.finalize(array, self._forget, id(array), slab.reference)
        return array

    def give_back(self, items: Iterable[Encoded]) -> None:
        """Make free the slabs of messages that are finished."""
        name = self._pool_name
        own = [item.reference for item in items if type(item) is Shared]
        own = [reference for reference in own if reference.pool == name]
        if own:
            assert self._pool is not None
            self._pool.give_back(*own)

    def _own_slab(self, payload: Buffer, length: int) -> SlabReference | None:
        """Find the slab that `allocate` gave and this payload is the whole of."""
        found: Any = payload.obj if isinstance(payload, memoryview) else None
        while found is not None and self._taken:
            slab = self._taken.get(id(found))
            if slab is not None:
                if slab.reference.length != length:
                    return None
                del self._taken[id(found)]
                return slab.reference
            found = getattr(found, "base", None)
        return None

    def _forget(self, array: int, reference: SlabReference) -> None:
        """Nobody holds an array that `allocate` gave any more; perhaps it was never sent.

        A finalizer: it may run at any time, also in the midst of a call of this object.
        """
        assert self._pool is not None
        never_sent = self._taken.pop(array, None) is not None
        self._pool.unpin(reference, give_back=never_sent)

    def _make_pool(self, length: int) -> SlabPool | None:
        with self._making:
            if self._pool is None and self._usable:
                prefault_bytes = min(self._capacity, PREFAULT_PAYLOADS * length)
                try:
                    self._pool = SlabPool(self._pool_name, self._capacity, prefault_bytes)
                except (UnavailableError, AlreadyRunningError) as error:
                    _log.warning("payloads travel inside the messages: %s", error)
                    self._usable = False
            return self._pool

    # Receiving

    def fold(self, *, holds: bool) -> None:
        """The stage folds: what it sends is in a ledger of its own.

        `holds`: it keeps what it was sent until it has given out what comes of that.
        """
        self._own_ledger = True
        self._holds = self._holds or holds

    def views(self, batch: Batch, *, together: bool = False) -> list[memoryview]:
        """Return the payloads that a batch only refers to, in the order of its `slabs`.

        They are read in place, and their `obj` lives for as long as anybody holds one. Below a
        pub-sub link nobody keeps them for us, so they are copied; as for a stage that keeps them.

        `together`: it is enough to know when nobody holds any of them, which takes less time. Not
        for payloads of several pools, or where the stage holds some beyond the batch.

        Raises
        ------
        StaleSlabError
            One is gone.
        DecodeError
            A reference is none of this chain's.
        """
        together = together and not self._holds
        views = self._reader.views([reference for _, reference in batch.slabs], together=together)
        if self.copies or not batch.reliable:
            views = [memoryview(bytes(view)) for view in views]
            self._reader.release()
        if batch.reliable:
            self._read_any = True
            slabs = lent_slabs(views[0])
            if together and slabs is not None and len(slabs.places[1]) == len(views):
                self.together = weakref.ref(slabs)
            self._passing = {
                id(view): (view, reference)
                for view, (_, reference) in zip(views, batch.slabs, strict=True)
            }
        return views

    def copy(self, reference: SlabReference) -> bytes:
        """Return a copy of one payload, of this replica or of another; errors as in `views`."""
        content = bytes(self._reader.view(reference))
        self._reader.release()
        return content

    def take_up(self, batch: Batch) -> None:
        """The messages of a batch are going to be worked on."""
        self._batch = batch
        self._lives.note(batch)
        if self._pool is not None:
            self._pool.reclaim(batch.source, batch.epoch, batch.frontier)

    @property
    def lends(self) -> bool:
        """Whether messages in hand may lie in shared memory."""
        return bool(self._passing) or (self._holds and self._read_any)

    def put_down(self, views: Iterable[int]) -> None:
        """Let go of views of the batch in hand, by their ids."""
        for view in views:
            self._passing.pop(view, None)

    def put_down_all(self) -> None:
        """Let go of all views of the batch in hand."""
        self._passing.clear()
        self.together = None

    def release(self) -> None:
        """Let senders use again what is not looked at any more; see `SlabReader.release`."""
        self._reader.release()

    def make_private(self, slabs: LentSlabs) -> None:
        """Keep slabs as they are for whoever holds views; see `SlabReader.make_private`."""
        self._reader.make_private(slabs)

    def remove(self) -> None:
        """Remove this replica's pool where the process ends at once; for any thread."""
        if self._pool is not None:
            self._pool.remove()

    def close(self) -> None:
        """Unmap everything, and remove this replica's pool."""
        self._reader.close()
        if self._pool is not None:
            self._pool.close()
        with contextlib.suppress(OSError):
            self.sweep()
