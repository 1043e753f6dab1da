"""Who lets go of which message when, with fakes for all that hold it."""

import pytest

from arroyo import Event
from arroyo.runner.relay.current_batch import WHOLE_AFTER, CurrentBatch
from arroyo.shared_memory.kept_views import Loan, Loans


class Reader:
    def __init__(self):
        self.messages, self.views, self.all = set(), set(), False

    def put_down(self, messages, views):
        self.messages |= messages
        self.views |= views

    def put_down_all(self):
        self.all = True


class Payloads:
    lends = True

    def __init__(self):
        self.views, self.all = set(), False

    def put_down(self, views):
        self.views |= views

    def put_down_all(self):
        self.all = True


class KeptViews:
    """Lends each message by itself, or all together."""

    together = False
    has_kept = False

    def __init__(self):
        self.torn = []

    def lend(self, work):
        if self.together:
            work = list(work)
            return work, Loans([Loan(len(work) - 1, work, 0, lambda: None)])
        places = [list(each) for each in work]
        return places, Loans(
            Loan(index, place, 100 + index, lambda: None) for index, place in enumerate(places)
        )

    def tear(self, loans):
        self.torn += loans


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def payloads():
    return Payloads()


@pytest.fixture
def kept_views():
    return KeptViews()


@pytest.fixture
def current_batch(reader, payloads, kept_views):
    return CurrentBatch(reader, payloads, kept_views)


def work(count=3):
    return [(index, (), Event({"index": index})) for index in range(count)]


def messages_of(work):
    return [message for _, _, message in work]


def test_all_let_go_of_a_batch_that_is_done(current_batch, reader, payloads):
    taken = current_batch.take_up(work())
    loans = current_batch.put_down_all(3, whole=True)
    assert reader.all
    assert payloads.all
    assert [loan.view for loan in loans] == [100, 101, 102]
    assert messages_of(taken) == [None] * 3


def test_all_let_go_of_the_first_messages_alone(current_batch, reader, payloads):
    taken = current_batch.take_up(work())
    first = messages_of(taken)[:2]
    loans = current_batch.put_down_first(2)
    assert [loan.view for loan in loans] == [100, 101]
    assert reader.messages == {id(message) for message in first}
    assert reader.views == payloads.views == {100, 101}
    assert [message is None for message in messages_of(taken)] == [True, True, False]
    assert [loan.view for loan in current_batch.put_down_all(1, whole=False)] == [102]


def test_what_was_lent_together_is_torn_when_some_goes_on(current_batch, kept_views):
    kept_views.together = True
    current_batch.take_up(work())
    assert current_batch.put_down_first(1) == []
    assert len(kept_views.torn) == 1
    assert current_batch.put_down_all(2, whole=False) == []


def test_a_batch_without_loans_is_put_down_as_well(current_batch, reader, payloads):
    payloads.lends = False
    taken = current_batch.take_up(work())
    assert current_batch.put_down_first(1) == ()
    assert current_batch.put_down_all(2, whole=False) == ()
    assert reader.all
    assert None not in messages_of(taken)


def test_batches_are_expected_to_go_on_whole_after_some_that_did(current_batch, kept_views):
    for _ in range(WHOLE_AFTER - 1):
        current_batch.put_down_all(1, whole=True)
        assert not current_batch.goes_on_whole
    current_batch.put_down_all(1, whole=True)
    assert current_batch.goes_on_whole
    kept_views.has_kept = True
    assert not current_batch.goes_on_whole
    kept_views.has_kept = False
    current_batch.put_down_all(1, whole=False)
    assert not current_batch.goes_on_whole
