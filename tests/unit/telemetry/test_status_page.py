import pytest
from small_disk import fill

from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.telemetry.histogram import BUCKETS
from arroyo.telemetry.status_page import (
    StatusPage,
    parse_status_page,
    read_histograms,
    read_status_page,
)
from arroyo.telemetry.status_words import (
    FIELDS,
    HEAD_BYTES,
    HISTOGRAM_OFFSET,
    MAGIC,
    PAGE_BYTES,
    Phase,
)


def test_what_a_replica_writes_can_be_read_while_it_runs(tmp_path):
    path = tmp_path / "work.0"
    page = StatusPage(path, pid=17, incarnation=3)
    page.set("received", 5)
    page.add("received", 2)
    page.enter(Phase.PROCESS, 123)
    words = read_status_page(path)
    page.close()
    assert words["magic"] == MAGIC
    assert (words["pid"], words["incarnation"], words["received"]) == (17, 3, 7)
    assert (words["phase"], words["phase_since_ns"]) == (Phase.PROCESS, 123)


def test_a_new_incarnation_counts_from_zero(tmp_path):
    path = tmp_path / "work.0"
    first = StatusPage(path, pid=17, incarnation=3)
    first.set("sent", 2**63)
    first.close()
    StatusPage(path, pid=18, incarnation=4).close()
    words = read_status_page(path)
    assert (words["pid"], words["incarnation"], words["sent"]) == (18, 4, 0)


def test_where_a_page_has_no_room_that_is_said_at_once(small_disk):
    disk = small_disk(16)
    fill(disk)
    with pytest.raises(UnavailableError, match="No space left on device; make room"):
        StatusPage(disk / "work.0", pid=17, incarnation=3)


def test_where_a_page_can_not_be_made_that_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        StatusPage(tmp_path / "missing" / "work.0", pid=17, incarnation=3)


def test_what_is_no_page_is_none(tmp_path):
    assert read_status_page(tmp_path / "missing") is None
    (tmp_path / "short").write_bytes(bytes(8))
    assert read_status_page(tmp_path / "short") is None
    (tmp_path / "blank").write_bytes(bytes(PAGE_BYTES))
    assert read_status_page(tmp_path / "blank") is None


def test_only_its_user_may_read_it(tmp_path):
    path = tmp_path / "work.0"
    StatusPage(path, pid=17, incarnation=3).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_words_and_histograms_fill_the_page_and_do_not_overlap():
    assert 8 * len(FIELDS) <= HEAD_BYTES
    ends = [HEAD_BYTES, *(offset + 8 * BUCKETS for offset in HISTOGRAM_OFFSET.values())]
    assert ends[:-1] == list(HISTOGRAM_OFFSET.values())
    assert ends[-1] == PAGE_BYTES


def test_the_head_of_a_page_is_enough_for_its_words(tmp_path):
    path = tmp_path / "work.0"
    StatusPage(path, pid=17, incarnation=3).close()
    assert parse_status_page(path.read_bytes()[:HEAD_BYTES]) == read_status_page(path)
    assert parse_status_page(path.read_bytes()[: HEAD_BYTES - 8]) is None


def test_histograms_are_read_for_the_incarnation_that_wrote_them(tmp_path):
    path = tmp_path / "work.0"
    page = StatusPage(path, pid=17, incarnation=3)
    page.histogram("latency")[5] += 7
    page.histogram("hop")[BUCKETS - 1] += 1
    found = read_histograms(path, 3)
    page.close()
    assert {name: sum(counts) for name, counts in found.items()} == {"latency": 7, "hop": 1}
    assert found["latency"][5] == 7
    assert found["hop"][-1] == 1
    assert read_histograms(path, 4) == {}
    assert read_histograms(tmp_path / "missing", 3) == {}
    StatusPage(path, pid=18, incarnation=4).close()
    assert not any(map(sum, read_histograms(path, 4).values()))
