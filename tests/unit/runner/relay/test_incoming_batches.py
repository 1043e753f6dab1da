"""What becomes of a batch as it comes, with fakes for who works on it and whom it concerns."""

from types import SimpleNamespace

import pytest
from batches import make_batch
from msgspec.structs import replace
from stage_fakes import ScriptedContext, line_of

from arroyo import Event
from arroyo.codec import Reason, join
from arroyo.protocol.values.deliveries import Delivery
from arroyo.runner.relay.current_batch import WHOLE_AFTER, CurrentBatch
from arroyo.runner.relay.incoming_batches import QUICK_S, IncomingBatches
from arroyo.runner.relay.role import equip
from arroyo.runner.relay.stale_batches import TELL_LOSS_S
from arroyo.shared_memory.slab_reader import StaleSlabError


class Machine:
    """Plans all that is there; says of each call what it was."""

    known = False

    @property
    def receiver(self):
        return self

    def plan(self, batch, messages):
        return [(place, (), message) for place, message in enumerate(messages)]

    def knows(self, batch):
        return self.known

    def finish(self, batch, work, outcomes, message_s):
        return [("finish", work, outcomes, message_s)]

    def skip(self, batch):
        return ["skip"]

    def report_loss(self):
        return ["lost"]


class Worker:
    message_s = 0.5

    def __init__(self):
        self.worked_off = []

    def work_off(self, batch, work):
        self.worked_off.append((batch, [message for _, _, message in work]))


class Neighbours:
    def __init__(self):
        self.performed = []
        self.noted = []
        self.replies = SimpleNamespace(note=lambda *counts: self.noted.append(counts))

    def perform(self, actions):
        self.performed += actions


class RelayStatus:
    written = 0

    def write(self):
        self.written += 1


class Parts:
    def __init__(self, context):
        self.equipment = equip(context)
        self.machine, self.worker = Machine(), Worker()
        self.neighbours, self.status = Neighbours(), RelayStatus()
        self.current_batch = CurrentBatch(
            self.equipment.reader, context.payloads, self.equipment.kept_views
        )
        self.incoming = IncomingBatches(
            self.equipment,
            self.machine,
            self.current_batch,
            self.worker,
            neighbours=self.neighbours,
            status=self.status,
        )


@pytest.fixture
def parts(tmp_path):
    chain = line_of(
        tmp_path, ("listener", "src", "own:Src", {}), ("publisher", "sink", "own:Sink", {})
    )
    with ScriptedContext(chain, "sink", lambda action: ()) as context:
        yield Parts(context)


def delivery(parts, *numbers, **fields):
    codec = parts.equipment.replica.codec
    body, detached, payloads = join([codec.encode(Event({"n": number})) for number in numbers])
    batch = make_batch(ranges=((0, len(numbers)),), detached=detached, reliable=True, **fields)
    return Delivery(batch, (bytes(body), *payloads))


def stale(parts):
    """A batch whose payloads are gone."""

    def views(batch, *, together):
        raise StaleSlabError("it is gone")

    parts.equipment.replica.payloads.views = views
    gone = delivery(parts, 1)
    return Delivery(make_batch(slabs=((0, None),), reliable=True), gone.content)


def test_messages_are_read_worked_on_and_counted_for_the_reply(parts):
    came = delivery(parts, 1, 2)
    parts.incoming.take(came)
    ((batch, messages),) = parts.worker.worked_off
    assert batch == came.batch
    assert [message.metadata["n"] for message in messages] == [1, 2]
    size = len(came.content[0])
    assert parts.neighbours.noted == [(2, size, 0, 2)]
    assert parts.equipment.counters.bytes_in == size
    assert parts.status.written == 0


def test_a_batch_that_can_not_be_read_is_quarantined_as_a_whole(parts):
    came = delivery(parts, 1, 2)
    parts.incoming.take(replace(came, content=(b"\xc1 no message",)))
    ((batch, messages),) = parts.worker.worked_off
    assert messages == []
    assert [stone.reason for stone in batch.tombstones] == [Reason.QUARANTINED]
    assert parts.equipment.reader.unreadable == 1


@pytest.mark.parametrize(("message_s", "together"), [(QUICK_S / 2, True), (QUICK_S * 2, False)])
def test_only_payloads_of_quick_messages_are_lent_together(parts, message_s, together):
    asked = []

    def views(batch, *, together):
        asked.append(together)
        raise StaleSlabError("as if it were gone")

    parts.equipment.replica.payloads.views = views
    parts.worker.message_s = message_s
    for _ in range(WHOLE_AFTER):
        parts.current_batch.put_down_all(1, whole=True)
    gone = delivery(parts, 1)
    parts.incoming.take(Delivery(make_batch(slabs=((0, None),), reliable=True), gone.content))
    assert asked == [together]


def test_the_page_is_written_before_a_batch_that_may_end_the_process(parts):
    parts.incoming.take(delivery(parts, 1, suspect=True))
    assert parts.status.written == 1


def test_the_sources_hear_once_of_batches_that_are_lost_one_after_the_other(parts):
    clock = parts.equipment.replica.clock
    clock.advance(100.0)
    for _ in range(3):
        parts.incoming.take(stale(parts))
    assert parts.worker.worked_off == []
    assert parts.neighbours.performed == ["skip", "lost", "skip", "skip"]
    parts.incoming.report_loss(clock.monotonic() + TELL_LOSS_S)
    assert parts.neighbours.performed[-1] == "lost"


def test_one_that_was_finished_while_it_was_in_flight_is_only_acknowledged(parts):
    parts.machine.known = True
    parts.incoming.take(stale(parts))
    assert parts.neighbours.performed == [("finish", (), (), parts.worker.message_s)]
    parts.incoming.report_loss(1e6)
    assert len(parts.neighbours.performed) == 1
