"""What a stage was lent: what it keeps is made private, before anybody hears that it is done."""

from pathlib import Path

import pytest
from batches import make_batch

from arroyo import Event
from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.deliveries import LazyWork
from arroyo.shared_memory.kept_views import KEPT_IN_PLACE, KeptViews
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
            current_sequence=lambda: 0,
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
def kept_views(payloads):
    return KeptViews(payloads, "own:Mean")


@pytest.fixture(params=[False, True], ids=["apart", "together"])
def together(request):
    return request.param


class Batch:
    """A batch of events in shared memory, of a byte each, as a stage has it in hand."""

    def __init__(self, sender, payloads, kept_views, together, first=0):
        self.first = first
        self.sent = [sender.keep(bytes([first + index]) * SIZE) for index in range(COUNT)]
        batch = make_batch(ranges=((0, COUNT),), slabs=tuple(enumerate(self.sent)))
        views = payloads.views(batch, together=together)
        messages = [Event({}, view) for view in views]
        work = LazyWork(range(COUNT), messages)
        self.sender, self.payloads, self.kept_views = sender, payloads, kept_views
        self.work, self.loans = kept_views.lend(work)

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
        self.kept_views.preserve(loans)
        self.payloads.release()
        for reference in self.sent:
            self.sender._pool.give_back(reference)
        for _ in range(COUNT):
            self.sender.keep(b"x" * SIZE)


@pytest.fixture
def make_current_batch(sender, payloads, kept_views, together):
    def make(first=0):
        return Batch(sender, payloads, kept_views, together, first)

    return make


def test_messages_that_are_done_are_forgotten(make_current_batch, kept_views):
    batch = make_current_batch()
    batch.end()
    assert all(batch.is_forgotten(index) for index in range(COUNT))
    assert not kept_views.has_kept


@pytest.mark.parametrize("index", range(COUNT))
def test_what_is_kept_stays_what_it_was(make_current_batch, kept_views, index):
    batch = make_current_batch()
    kept = batch.view(index)[10:]
    batch.end()
    assert set(kept) == {index}
    assert kept_views.has_kept


def test_a_view_that_dies_in_time_costs_nothing(make_current_batch, kept_views):
    batch = make_current_batch()
    kept = batch.view(1)
    del kept
    batch.end()
    assert not kept_views.has_kept


def test_after_some_that_were_kept_payloads_are_copied(make_current_batch, payloads, caplog):
    kept = []
    for first in range(KEPT_IN_PLACE):
        batch = make_current_batch(first)
        kept.append(batch.view(0))
        assert not payloads.copies
        batch.end()
    assert payloads.copies
    assert [view[0] for view in kept] == list(range(KEPT_IN_PLACE))
    assert "event.copy()" in caplog.text
    assert set(make_current_batch(100).view(1)) == {101}


def test_a_part_of_what_was_lent_together_can_go_on_before_the_rest(sender, payloads, kept_views):
    batch = Batch(sender, payloads, kept_views, together=True)
    kept = batch.view(0)
    kept_views.tear(batch.loans.take_torn(2))
    payloads.release()
    for reference in batch.sent[:2]:
        sender._pool.give_back(reference)
    for _ in range(2):
        sender.keep(b"x" * SIZE)
    assert set(kept) == {0}
    assert not kept_views.has_kept  # nobody can know
    assert set(batch.view(3)) == {3}
    assert batch.loans.take(2) == []
    batch.end(done=2)
    assert set(kept) == {0}


def test_what_was_lent_together_is_not_torn_at_its_end(sender, payloads, kept_views):
    batch = Batch(sender, payloads, kept_views, together=True)
    assert batch.loans.take_torn(COUNT) == []
    batch.end()
    assert batch.is_forgotten(0)


def test_messages_without_payloads_in_shared_memory_are_no_loans(kept_views):
    work, loans = kept_views.lend(LazyWork(range(1), [Event({}, b"abc")]))
    assert loans.take(1) == []
    assert work[0][2].payload == b"abc"
