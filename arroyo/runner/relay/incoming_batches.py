"""`IncomingBatches`: from the frames of a batch to what the stage's code works on."""

from __future__ import annotations

from collections.abc import Sequence

from arroyo.codec import Batch
from arroyo.errors import DecodeError
from arroyo.messages import Message
from arroyo.protocol.values.batches import count_of, in_flight_at
from arroyo.protocol.values.deliveries import Delivery, Work
from arroyo.shared_memory.slab_reader import StaleSlabError
from arroyo.telemetry.status_words import Phase

from .batch_worker import BatchWorker
from .current_batch import CurrentBatch
from .neighbours import Neighbours
from .relay_status import RelayStatus
from .role import Equipment, Machine
from .stale_batches import StaleBatches

QUICK_S = 0.0001
"""Payloads of messages that take less time are lent together. What that saves is little beside a
longer one; and where results of a part of the batch go on, all that was lent has to be copied."""


class IncomingBatches:
    """Reads each batch, and gives it to whoever works on it.

    A batch that can't be read is quarantined as a whole. One whose payloads are gone from shared
    memory is lost here: its sender has died, or somebody has finished it; the sources send it
    again if need be.
    """

    def __init__(
        self,
        equipment: Equipment,
        machine: Machine,
        current_batch: CurrentBatch,
        worker: BatchWorker,
        *,
        neighbours: Neighbours,
        status: RelayStatus,
    ) -> None:
        self._replica = equipment.replica
        self._reader = equipment.reader
        self._counters = equipment.counters
        self._machine = machine
        self._current_batch = current_batch
        self._worker = worker
        self._neighbours = neighbours
        self._status = status
        self._stale = StaleBatches()

    def take(self, delivery: Delivery) -> None:
        """Read a batch, and have it worked on."""
        self._replica.enter(Phase.PROCESS)
        try:
            batch, work = self._read(delivery)
        except StaleSlabError as error:
            self._skip_stale(delivery.batch, error)
        except (DecodeError, ValueError) as error:
            batch, messages = self._reader.give_up(delivery.batch, delivery.content, error)
            self._replica.begin_batch(batch)
            # What came early, and waited for these, has its turn now.
            self._worker.work_off(batch, self._plan(batch, messages))
        else:
            self._work_off(delivery, batch, work)

    def _read(self, delivery: Delivery) -> tuple[Batch, Sequence[Work]]:
        """Return the header, and what is to be worked on."""
        batch = delivery.batch
        body, *payloads = delivery.content
        places = batch.detached
        if batch.slabs:
            quick = self._worker.message_s < QUICK_S
            together = quick and self._current_batch.goes_on_whole
            payloads += self._replica.payloads.views(batch, together=together)
            places += tuple(position for position, _ in batch.slabs)
        batch, messages = self._reader.read(batch, body, places, payloads)
        return batch, self._plan(batch, messages)

    def _plan(self, batch: Batch, messages: Sequence[Message]) -> Sequence[Work]:
        """Return what is to be worked on; nothing else here keeps what was lent of it."""
        return self._current_batch.take_up(self._machine.receiver.plan(batch, messages))

    def _work_off(self, delivery: Delivery, batch: Batch, work: Sequence[Work]) -> None:
        came = delivery.batch
        count, size = count_of(came), sum(map(len, delivery.content))
        shared = sum(reference.length for _, reference in came.slabs) if came.slabs else 0
        self._replica.payloads.take_up(came)
        if self._replica.tap.is_open:
            self._replica.tap.take(came, delivery.content)
        self._replica.begin_batch(batch)
        if batch.suspect:
            self._status.write()  # this process may die of it, and what it has done counts
        self._worker.work_off(batch, work)
        self._neighbours.replies.note(count, size, shared, in_flight_at(came))
        self._counters.bytes_in += size + shared
        self._stale.note_found()

    def _skip_stale(self, batch: Batch, error: StaleSlabError) -> None:
        if self._machine.receiver.knows(batch):
            # It was finished while it was in flight, and is only to be acknowledged again.
            self._neighbours.perform(self._machine.finish(batch, (), (), self._worker.message_s))
            return
        self._stale.note(batch, error)
        self._neighbours.perform(self._machine.receiver.skip(batch))
        self.report_loss(self._replica.clock.monotonic())

    def report_loss(self, now: float) -> None:
        """Have the sources send again what was lost here, if it is time to say so."""
        if self._stale.is_report_due(now):
            self._neighbours.perform(self._machine.receiver.report_loss())
