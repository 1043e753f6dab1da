import pytest

from arroyo.supervision.reporting.snapshot import Snapshot


def test_what_was_seen_at_one_moment_stays_as_it_was():
    snapshot = Snapshot(1.0, {"state": "READY"})
    assert snapshot.latencies == {}
    with pytest.raises(AttributeError):
        snapshot.time_s = 2.0
