"""`PayloadStore`: this replica's payloads in shared memory, and its views of those of others.

A large payload is copied into a slab once, when its sender encodes it, and read in place by every
stage below. It stays until every sink has finished the message, which a source knows by its ledger,
an operator by the frontier in incoming headers. If shared memory is full or can't be used, payloads
travel in the messages, and the status page counts them.
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

from .allocated_arrays import AllocatedArrays
from .allocator import SlabOwner
from .files import pool_name, pool_prefix, sweep
from .pages import LentSlabs, lent_slabs
from .pool import SlabPool
from .slab_reader import SlabReader
from .source_epochs import SourceEpochs

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

PREFAULT_PAYLOADS = 4
"""A new pool has memory for this many payloads of the size of the first."""
SPARE_WINDOWS = 2
"""Size of a pool in windows: the frontier that frees a slab comes a little late."""
_ALL = 1 << 62
"""A frontier that is beyond every sequence."""


class PayloadStore:
    """Payloads of one replica.

    Parameters
    ----------
    directory
        The chain's run directory, after which pools are named; None: the whole chain is in this
        process, and payloads travel in the messages.
    is_alive
        Tells whether a process of a replica runs; then its pools are left alone.
    """

    def __init__(
        self,
        chain: Chain,
        name: ReplicaName,
        incarnation: int,
        directory: RunDirectory | None,
        *,
        current_sequence: Callable[[], int],
        is_alive: Callable[[ReplicaName], bool],
    ) -> None:
        self._current_sequence = current_sequence
        self._is_alive = is_alive
        self._making = threading.Lock()
        self._name = name
        self._prefix = "" if directory is None else pool_prefix(directory.path)
        self._pool_name = pool_name(self._prefix, name, incarnation)
        self._capacity = SPARE_WINDOWS * max(
            stage.window_bytes for stage in chain.stages.values() if stage.role == "listener"
        )
        # A fold has an epoch for each run, and many at a time.
        self._epochs = SourceEpochs(
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
        """The loan of all payloads of the batch in hand; None: each one is a loan of its own."""
        # A stage that restores order holds messages for longer than their batch.
        self._holds = chain.stages[name.stage].order == "source"
        self._own_ledger = self._read_any = False
        self.copies = False
        """Whether the stage gets copies of payloads, since it keeps them."""
        self._arrays = AllocatedArrays()
        self._batch: Batch | None = None
        self.inline = 0
        """Number of payloads that found no room."""
        self.sweep()

    def sweep(self) -> None:
        """Remove the pools of this chain's dead replicas, and those of this one's former lives."""
        if self._prefix:
            sweep(self._prefix, lambda other: other != self._name and self._is_alive(other))

    # Sending

    def keep(self, payload: Buffer) -> SlabReference | bytes | None:
        """Put a payload into shared memory; see `codec.Keep`.

        A payload that finds no room is copied: it may be in a slab that is given back before the
        message has left.
        """
        if passing := self._passing.get(id(payload)):
            return passing[1]
        length = memoryview(payload).nbytes
        pool = self._pool or self._make_pool(length)
        if pool is None:
            return bytes(payload) if self.lends else None
        owner = self._current_owner()
        own = self._arrays.take(payload, length)
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
                "no room in shared memory for a payload of %d bytes (the pool may have %d bytes): "
                "such payloads travel in the messages, which takes longer; `arroyo status` counts "
                "them as inline. Is /dev/shm full?",
                length,
                self._capacity,
            )
        self.inline += 1

    def _make_room(self, pool: SlabPool) -> bool:
        """Free slabs of messages from former lives of sources, which nothing will ever finish.

        They may still be read by a stage whose results are not taken any more.
        """
        freed = [
            pool.reclaim(source, epoch, _ALL)
            for source, epoch in pool.owner_epochs()
            if self._epochs.is_over(source, epoch)
        ]
        return any(freed)

    def _current_owner(self) -> SlabOwner | None:
        """Return the message that a new slab is freed with; None at a source or fold (ledger)."""
        batch = self._batch
        if batch is None or self._own_ledger:
            return None
        return SlabOwner(batch.source, batch.epoch, self._current_sequence())

    def allocate(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array to be filled and sent, in a slab if possible."""
        import numpy as np

        kind = np.dtype(dtype)
        dimensions = (shape,) if isinstance(shape, int) else tuple(shape)
        length = math.prod(dimensions) * kind.itemsize
        pool = None
        if length >= DETACH_BYTES:
            pool = self._pool or self._make_pool(length)
        if pool is None:
            return np.empty(dimensions, kind)
        slab = pool.take(length, pinned=True)
        if slab is None and self._make_room(pool):
            slab = pool.take(length, pinned=True)
        if slab is None:
            return np.empty(dimensions, kind)
        return self._arrays.make(pool, slab, dimensions, kind)

    def give_back(self, items: Iterable[Encoded]) -> None:
        """Free the slabs of finished messages."""
        name = self._pool_name
        own = [item.reference for item in items if type(item) is Shared]
        own = [reference for reference in own if reference.pool == name]
        if own:
            assert self._pool is not None
            self._pool.give_back(*own)

    def _make_pool(self, length: int) -> SlabPool | None:
        with self._making:
            if self._pool is None and self._usable:
                prefault_bytes = min(self._capacity, PREFAULT_PAYLOADS * length)
                try:
                    self._pool = SlabPool(self._pool_name, self._capacity, prefault_bytes)
                except (UnavailableError, AlreadyRunningError) as error:
                    _log.warning("payloads travel in the messages: %s", error)
                    self._usable = False
            return self._pool

    # Receiving

    def fold(self, *, holds: bool) -> None:
        """Note that the stage folds: what it sends is in a ledger of its own.

        `holds`: it keeps its inputs until it has sent the output.
        """
        self._own_ledger = True
        self._holds = self._holds or holds

    def views(self, batch: Batch, *, together: bool = False) -> list[memoryview]:
        """Return the payloads that a batch only refers to, in the order of its `slabs`.

        They are read in place, and their `obj` lives as long as any view of them. Below a pub-sub
        link the sender does not wait for us, so payloads are copied; also for a stage that keeps
        views.

        `together`: one loan for all of them, which takes less time. Not for payloads of several
        pools, or for a stage that holds some for longer than the batch.

        StaleSlabError: a payload is gone.
        DecodeError: a reference is not of this chain.
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

    def view(self, reference: SlabReference) -> memoryview:
        """Return one payload, of this replica or of another, until `release`; errors as above."""
        return self._reader.view(reference)

    def copy(self, reference: SlabReference) -> bytes:
        """Return a copy of one payload, of this replica or of another; errors as in `views`."""
        content = bytes(self.view(reference))
        self.release()
        return content

    def take_up(self, batch: Batch) -> None:
        """Note that the messages of a batch are going to be worked on."""
        self._batch = batch
        self._epochs.note(batch)
        if self._pool is not None:
            self._pool.reclaim(batch.source, batch.epoch, batch.frontier)

    @property
    def lends(self) -> bool:
        """Whether payloads of messages in hand may be in shared memory."""
        return bool(self._passing) or (self._holds and self._read_any)

    def put_down(self, views: Iterable[int]) -> None:
        """Drop our views of the batch in hand, by their ids."""
        for view in views:
            self._passing.pop(view, None)

    def put_down_all(self) -> None:
        """Drop all our views of the batch in hand."""
        self._passing.clear()
        self.together = None

    def release(self) -> None:
        """Let senders reuse slabs that have no views any more; see `SlabReader.release`."""
        self._reader.release()

    def make_private(self, slabs: LentSlabs) -> None:
        """Keep slabs as they are for existing views; see `SlabReader.make_private`."""
        self._reader.make_private(slabs)

    def remove(self) -> None:
        """Remove this replica's pool, for a process that ends at once. From any thread."""
        if self._pool is not None:
            self._pool.remove()

    def close(self) -> None:
        """Unmap everything, and remove this replica's pool."""
        self._reader.close()
        if self._pool is not None:
            self._pool.close()
        with contextlib.suppress(OSError):
            self.sweep()
