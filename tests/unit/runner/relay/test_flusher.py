"""When a publisher is flushed, and what follows, with fakes for all that it has to do with."""

from types import SimpleNamespace

import pytest

from arroyo.codec import Reason
from arroyo.messages import Origin
from arroyo.runner.relay.counters import Counters
from arroyo.runner.relay.flusher import FLUSH_BYTES, FLUSH_S, LOOK_S, PATIENCE_S, Flusher
from arroyo.runner.relay.link_thread import NoLinkThread
from arroyo.runner.relay.retrying_caller import RetryingCaller
from arroyo.telemetry.status_words import Phase
from arroyo.testing import FakeClock

REFUSED = {Origin("r", "src.0", 1, 4): Reason.QUARANTINED}


class Replica:
    shares_thread = False

    def __init__(self):
        self.clock = FakeClock()
        self.phases = []

    def enter(self, phase):
        self.phases.append(phase)

    def now_ns(self):
        return int(self.clock.monotonic() * 1e9)

    def endure(self, error, attempt):
        raise error


class Flushes:
    """The publisher's calls, and the machine; `done` says in which order things happen."""

    def __init__(self):
        self.done = []
        self.refused = {}

    def flush(self):
        self.done.append("flush")
        return self.refused

    def begin_flush(self):
        return None

    def flushed(self, refused, *, begun):
        return [("acknowledge begun" if begun else "acknowledge", dict(refused))]


class FlushesInBackground(Flushes):
    """Is over when `is_over` says so."""

    is_over = False

    def begin_flush(self):
        return lambda: self.refused if self.is_over else None


class Latencies:
    def begin_flush(self):
        pass

    def flushed(self, now_ns, *, begun):
        self.at_ns = now_ns


@pytest.fixture
def flushes():
    return Flushes()


@pytest.fixture
def replica():
    return Replica()


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def background():
    return FlushesInBackground()


@pytest.fixture
def flusher(flushes, replica, counters):
    return make_flusher(flushes, replica, counters)


@pytest.fixture
def patient(background, replica, counters):
    return make_flusher(background, replica, counters)


def make_flusher(flushes, replica, counters):
    return Flusher(
        replica,
        flushes,
        SimpleNamespace(begin_flush=lambda: flushes.done.append("begin"), flushed=flushes.flushed),
        RetryingCaller(replica, NoLinkThread(), lambda: None),
        flushes.done.extend,
        counters=counters,
        latencies=Latencies(),
    )


def test_nothing_is_flushed_where_nothing_was_published(flusher, flushes):
    assert not flusher.flush()
    assert not flusher.flush_if_due(1000.0)
    assert (flusher.due, flushes.done) == (None, [])


def test_what_was_published_is_acknowledged_after_the_flush(flusher, flushes, replica):
    flusher.note_published()
    assert flusher.flush()
    assert flushes.done == ["flush", ("acknowledge", {})]
    assert replica.phases == [Phase.FLUSH]
    assert not flusher.flush()


def test_what_was_published_waits_for_a_while_and_not_for_longer(flusher, replica):
    flusher.note_published()
    now = replica.clock.monotonic()
    assert not flusher.flush_if_due(now + FLUSH_S / 2)
    assert flusher.flush_if_due(now + FLUSH_S)
    assert not flusher.flush_if_due(now + 2 * FLUSH_S)


def test_much_waits_for_nothing(flusher, replica, counters):
    counters.bytes_in += FLUSH_BYTES
    flusher.note_published()
    assert flusher.flush_if_due(replica.clock.monotonic())


def test_what_comes_later_does_not_put_a_flush_off(flusher, replica):
    flusher.note_published()
    due = flusher.due
    replica.clock.advance(0.9 * FLUSH_S)
    flusher.note_published()
    assert flusher.due == due


def test_what_was_flushed_does_not_count_again(flusher, replica, counters):
    counters.bytes_in += FLUSH_BYTES
    flusher.note_published()
    flusher.flush()
    counters.bytes_in += FLUSH_BYTES - 1
    flusher.note_published()
    now = replica.clock.monotonic()
    assert not flusher.flush_if_due(now)
    counters.bytes_in += 1
    flusher.note_published()
    assert flusher.flush_if_due(now)


def test_what_is_refused_does_not_count_as_sent(flusher, flushes, counters):
    counters.sent = 2
    flushes.refused = REFUSED
    flusher.note_published()
    flusher.flush()
    assert counters.sent == 1


def test_what_is_refused_is_told_with_what_is_finished(flusher, flushes):
    flushes.refused = REFUSED
    flusher.note_published()
    flusher.flush()
    assert flushes.done[-1] == ("acknowledge", REFUSED)


def test_a_flush_that_fails_acknowledges_nothing(flusher, flushes):
    def fail():
        raise OSError("the disk is full")

    flushes.flush = fail
    flusher.note_published()
    with pytest.raises(OSError, match="full"):
        flusher.flush()
    assert flushes.done == []


def begin(flusher):
    """Publish something, and have the flush begin; return when that is."""
    flusher.note_published()
    now = flusher.due
    assert flusher.flush_if_due(now)
    return now


def test_a_flush_in_the_background_keeps_nothing_waiting(patient, background, replica):
    now = begin(patient)
    assert background.done == ["begin"]
    assert replica.phases == []
    assert patient.due == now + LOOK_S
    patient.flush_if_due(patient.due)
    assert background.done == ["begin"]
    background.is_over = True
    patient.flush_if_due(patient.due)
    assert background.done == ["begin", ("acknowledge begun", {})]
    assert patient.due is None


def test_what_is_published_meanwhile_has_a_flush_of_its_own(patient, background):
    now = begin(patient)
    patient.note_published()
    background.is_over = True
    patient.flush_if_due(now + LOOK_S)
    assert patient.due is not None
    patient.flush_if_due(patient.due)
    assert background.done == ["begin", ("acknowledge begun", {}), "begin"]


def test_a_flush_that_takes_long_is_waited_for_with_all_that_was_published(
    patient, background, replica
):
    now = begin(patient)
    patient.note_published()
    patient.flush_if_due(now + 0.9 * PATIENCE_S)
    assert background.done == ["begin"]
    patient.flush_if_due(now + PATIENCE_S)
    assert background.done == ["begin", "flush", ("acknowledge", {})]
    assert replica.phases == [Phase.FLUSH]
    assert patient.due is None


def test_what_is_in_flight_at_the_end_is_waited_for(patient, background):
    begin(patient)
    assert patient.flush()
    assert background.done == ["begin", "flush", ("acknowledge", {})]
    assert not patient.flush()


def test_what_a_flush_in_the_background_refuses_is_told_as_well(patient, background):
    background.is_over, background.refused = True, REFUSED
    now = begin(patient)
    patient.flush_if_due(now + LOOK_S)
    assert background.done[-1] == ("acknowledge begun", REFUSED)
