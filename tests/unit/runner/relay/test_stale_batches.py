import msgspec
import pytest
from batches import make_batch

from arroyo.errors import StageError
from arroyo.runner.relay.stale_batches import STALE_IN_A_ROW, TELL_LOSS_S, StaleBatches
from arroyo.shared_memory.slab_reader import MissingPoolError, StaleSlabError

GONE = StaleSlabError("it is gone")
MISSING = MissingPoolError("there is no pool")


@pytest.fixture
def stale():
    return StaleBatches()


@pytest.fixture
def batch():
    return msgspec.structs.replace(make_batch(), reliable=True)


def test_losses_within_a_short_time_are_reported_once(stale, batch):
    assert not stale.is_report_due(5.0)
    stale.note(batch, GONE)
    assert stale.is_report_due(5.0)
    stale.note(batch, GONE)
    stale.note(batch, GONE)
    assert not stale.is_report_due(5.0 + TELL_LOSS_S / 2)
    assert stale.is_report_due(5.0 + TELL_LOSS_S)
    assert not stale.is_report_due(5.0 + 3 * TELL_LOSS_S)


def test_nobody_hears_of_what_may_be_lost(stale, batch):
    stale.note(msgspec.structs.replace(batch, reliable=False), GONE)
    assert not stale.is_report_due(5.0)


def test_too_many_in_a_row_mean_that_shared_memory_is_not_shared(stale, batch):
    for _ in range(STALE_IN_A_ROW):
        stale.note(batch, MISSING)
    with pytest.raises(StageError, match="need the same /dev/shm"):
        stale.note(batch, MISSING)


def test_any_number_may_have_been_finished_elsewhere(stale, batch):
    for _ in range(3 * STALE_IN_A_ROW):
        stale.note(batch, GONE)


def test_a_batch_whose_payloads_are_there_begins_a_new_row(stale, batch):
    for _ in range(3):
        for _ in range(STALE_IN_A_ROW):
            stale.note(batch, MISSING)
        stale.note_found()
