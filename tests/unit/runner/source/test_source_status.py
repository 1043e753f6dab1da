"""What the status page of a source says, and how often it is written."""

from types import SimpleNamespace

import pytest

from arroyo.codec import Reason
from arroyo.runner.source.source_status import STATUS_S, SourceStatus


@pytest.fixture
def listener():
    return SimpleNamespace()


@pytest.fixture
def status(replica, listener):
    window = SimpleNamespace(bytes_in=1000, dropped=2, waiting=3, refused=4)
    tombstones = SimpleNamespace(count=lambda reason: {Reason.QUARANTINED: 2}.get(reason, 0))
    ledger = SimpleNamespace(next=20, frontier=10, open_events=8, tombstones=tombstones)
    source = SimpleNamespace(ledger=ledger, redelivered=5, lost=6)
    return SourceStatus(replica, listener, window, source)


def test_it_says_what_window_and_machine_say(status, replica):
    status.sent = 17
    status.write()
    found = replica.counts
    words = ("bytes_in", "dropped", "sent", "in_flight", "redelivered", "lost")
    assert [found[word] for word in words] == [1000, 2, 17, 10, 5, 6]


def test_at_the_end_only_events_count_as_not_finished(status, replica):
    status.write()
    assert replica.counts["unfinished"] == 10 + 3
    status.write_last()
    assert replica.counts["unfinished"] == status.unfinished == 8 + 3


def test_at_the_end_it_says_what_arrived_beyond_the_frontier_and_what_ended_on_its_way(
    status, replica
):
    status.write()
    assert replica.counts["arrived"] == 0
    status.write_last()
    words = "arrived", "run_filtered", "run_skipped", "run_quarantined"
    assert [replica.counts[word] for word in words] == [12, 0, 0, 2]


@pytest.mark.parametrize(("says", "rejected"), [(None, 4), (9, 9), (1, 4), ("many", 4)])
def test_what_was_refused_counts_once_though_the_listener_may_count_it_too(
    status, replica, listener, says, rejected
):
    if says is not None:
        listener.rejected = says
    replica.rejected = 100
    status.write()
    assert replica.counts["rejected"] == rejected + 100


def test_it_is_written_now_and_then(status, replica):
    seen = []
    for now in (10.0, 10.0 + STATUS_S / 2, 10.0 + STATUS_S):
        status.sent += 1
        status.write_if_due(now)
        seen.append(replica.counts["sent"])
    assert seen == [1, 1, 3]
