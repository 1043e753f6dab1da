"""What a stage was lent: what it keeps is made private, before anybody hears that it is done."""

from pathlib import Path

import pytest
from batches import make_batch

from arroyo import Event
from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.deliveries import Row
from arroyo.shared_memory.lending import KEPT_IN_PLACE, Lending
from arroyo.shared_memory.payloads import PayloadStore

SIZE = 64 * 1024
COUNT = 4


@pytest.fixture
def stores(run_directory):
    stages = {
        "camera": Stage(name="camera", role="listener", target="own:Camera"),
        "mean": Stage(name="mean", role="operator", target="own:Mean", inputs=(Input("camera"),)),
    }
    chain = Chain(name="c", folder=Path("/"), path=Path("/c"), stages=stages)
    made = [
        PayloadStore(
            chain,
            ReplicaName(stage, 0),
            1,
            run_directory,
            sequence_in_hand=lambda: 0,
            is_alive=lambda other: True,
        )
        for stage in stages
    ]
    yield made
    for store in made:
        store.close()


@pytest.fixture
def sender(stores):
    return stores[0]


@pytest.fixture
def payloads(stores):
    return stores[1]


@pytest.fixture
def lending(payloads):
    return Lending(payloads, "own:Mean")


@pytest.fixture(params=[False, True], ids=["apart", "together"])
def together(request):
    return request.param


class Batch:
    """A batch of events in shared memory, of a byte each, as a stage has it in hand."""

    def __init__(self, sender, payloads, lending, together, first=0):
        self.first = first
        self.sent = [sender.keep(bytes([first + index]) * SIZE) for index in range(COUNT)]
        batch = make_batch(ranges=((0, COUNT),), slabs=tuple(enumerate(self.sent)))
        views = payloads.views(batch, together=together)
        messages = [Event({}, view) for view in views]
        work = Row(range(COUNT), messages)
        self.sender, self.payloads, self.lending = sender, payloads, lending
        self.work, self.loans = lending.lend(work)

    def view(self, index):
        return self.work[index][2].payload

    def is_forgotten(self, index):
        return self.work[index][2] is None

    def end(self, done=0):
        """Finish the rest of the batch; then its sender uses the slabs again."""
        self.payloads.put_down_all()
        loans = self.loans.take(COUNT - done)
        for loan in loans:
            loan.forget()
        self.lending.settle(loans)
        self.payloads.release()
        for reference in self.sent:
            self.sender._pool.give_back(reference)
        for _ in range(COUNT):
            self.sender.keep(b"x" * SIZE)


@pytest.fixture
def make_batch_in_hand(sender, payloads, lending, together):
    def make(first=0):
        return Batch(sender, payloads, lending, together, first)

    return make


def test_messages_that_are_done_are_forgotten(make_batch_in_hand, lending):
    batch = make_batch_in_hand()
    batch.end()
    assert all(batch.is_forgotten(index) for index in range(COUNT))
    assert not lending.has_kept


@pytest.mark.parametrize("index", range(COUNT))
def test_what_is_kept_stays_what_it_was(make_batch_in_hand, lending, index):
    batch = make_batch_in_hand()
    kept = batch.view(index)[10:]
    batch.end()
    assert set(kept) == {index}
    assert lending.has_kept


def test_a_view_that_dies_in_time_costs_nothing(make_batch_in_hand, lending):
    batch = make_batch_in_hand()
    kept = batch.view(1)
    del kept
    batch.end()
    assert not lending.has_kept


def test_after_some_that_were_kept_payloads_are_copied(make_batch_in_hand, payloads, caplog):
    kept = []
    for first in range(KEPT_IN_PLACE):
        batch = make_batch_in_hand(first)
        kept.append(batch.view(0))
        assert not payloads.copies
        batch.end()
    assert payloads.copies
    assert [view[0] for view in kept] == list(range(KEPT_IN_PLACE))
    assert "event.copy()" in caplog.text
    assert set(make_batch_in_hand(100).view(1)) == {101}


def test_a_part_of_what_was_lent_together_can_go_on_before_the_rest(sender, payloads, lending):
    batch = Batch(sender, payloads, lending, together=True)
    kept = batch.view(0)
    lending.tear(batch.loans.take_torn(2))
    payloads.release()
    for reference in batch.sent[:2]:
        sender._pool.give_back(reference)
    for _ in range(2):
        sender.keep(b"x" * SIZE)
    assert set(kept) == {0}
    assert not lending.has_kept  # nobody can know
    assert set(batch.view(3)) == {3}
    assert batch.loans.take(2) == []
    batch.end(done=2)
    assert set(kept) == {0}


def test_what_was_lent_together_is_not_torn_at_its_end(sender, payloads, lending):
    batch = Batch(sender, payloads, lending, together=True)
    assert batch.loans.take_torn(COUNT) == []
    batch.end()
    assert batch.is_forgotten(0)


def test_messages_without_payloads_in_shared_memory_are_no_loans(lending):
    work, loans = lending.lend(Row(range(1), [Event({}, b"abc")]))
    assert loans.take(1) == []
    assert work[0][2].payload == b"abc"
