import msgspec
import pytest
from batches import make_batch

from arroyo.codec import Kind
from arroyo.telemetry.histogram import BUCKETS, bucket_of
from arroyo.telemetry.latencies import Latencies

MS = 1_000_000
BATCH = make_batch(ranges=((0, 5),), handed_ns=100 * MS, sent_ns=130 * MS)


@pytest.fixture
def way():
    return [0] * BUCKETS


@pytest.fixture
def hop():
    return [0] * BUCKETS


def counted(histogram):
    return {bucket: count for bucket, count in enumerate(histogram) if count}


def test_the_way_ends_when_the_stage_is_done_and_the_hop_when_it_begins(way, hop):
    latencies = Latencies(way, hop)
    latencies.note(BATCH, 5, 133 * MS, 140 * MS)
    assert counted(hop) == {bucket_of(3 * MS): 5}
    assert counted(way) == {bucket_of(40 * MS): 5}


def test_a_publisher_that_flushes_is_done_after_its_flush(way, hop):
    latencies = Latencies(way, hop, flushes=True)
    latencies.note(BATCH, 5, 133 * MS, 140 * MS)
    assert counted(way) == {}
    latencies.flushed(190 * MS)
    latencies.flushed(300 * MS)
    assert counted(way) == {bucket_of(90 * MS): 5}


def test_a_flush_ends_for_what_was_done_before_it_began(way, hop):
    latencies = Latencies(way, hop, flushes=True)
    latencies.note(BATCH, 5, 133 * MS, 140 * MS)
    latencies.begin_flush()
    latencies.note(BATCH, 2, 133 * MS, 140 * MS)
    latencies.flushed(190 * MS, begun=True)
    assert counted(way) == {bucket_of(90 * MS): 5}
    latencies.flushed(300 * MS)
    assert counted(way) == {bucket_of(90 * MS): 5, bucket_of(200 * MS): 2}


def test_of_what_was_sent_again_only_the_hop_counts(way, hop):
    again = msgspec.structs.replace(BATCH, attempt=1)
    latencies = Latencies(way, hop)
    latencies.note(again, 5, 133 * MS, 140 * MS)
    assert counted(way) == {}
    assert sum(hop) == 5


@pytest.mark.parametrize("kind", [Kind.START, Kind.STOP])
def test_start_and_stop_do_not_count(way, hop, kind):
    latencies = Latencies(way, hop)
    control = msgspec.structs.replace(BATCH, kind=kind)
    latencies.note(control, 1, 133 * MS, 140 * MS)
    assert counted(way) == counted(hop) == {}


@pytest.mark.parametrize("stamp_ns", [0, 500 * MS], ids=["unknown", "in the future"])
def test_a_stamp_that_means_nothing_is_not_counted(way, hop, stamp_ns):
    latencies = Latencies(way, hop)
    odd = msgspec.structs.replace(BATCH, handed_ns=stamp_ns, sent_ns=stamp_ns)
    latencies.note(odd, 5, 133 * MS, 140 * MS)
    assert counted(way) == counted(hop) == {}


def test_stamps_of_another_clock_are_not_counted(way, hop):
    latencies = Latencies(way, hop, comparable=False)
    latencies.note(BATCH, 5, 133 * MS, 140 * MS)
    assert counted(way) == counted(hop) == {}
