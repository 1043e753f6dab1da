import pytest
from small_disk import fill

from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.telemetry.histogram import BUCKETS
from arroyo.telemetry.status_page import (
    StatusPage,
    parse_status_page,
    read_status_page,
    read_whole_page,
)
from arroyo.telemetry.status_words import (
    FIELDS,
    HEAD_BYTES,
    HISTOGRAM_OFFSET,
    MAGIC,
    PAGE_BYTES,
    SAID_HOLDS_S,
    SENTENCE_BYTES,
    SENTENCE_OFFSET,
    Phase,
    phase_times_ns,
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


def test_the_time_in_each_phase_adds_up(tmp_path):
    path = tmp_path / "work.0"
    page = StatusPage(path, pid=17, incarnation=3)
    starts = [(Phase.OPEN, 100), (Phase.IDLE, 130), (Phase.PROCESS, 140), (Phase.IDLE, 200)]
    for phase, at in starts:
        page.enter(phase, at)
    times = phase_times_ns(read_status_page(path), 250)
    page.close()
    spent = {phase: time for phase, time in times.items() if time}
    assert spent == {Phase.OPEN: 30, Phase.IDLE: 60, Phase.PROCESS: 60}


def test_a_replica_that_imports_has_been_in_no_phase_yet(tmp_path):
    path = tmp_path / "work.0"
    StatusPage(path, pid=17, incarnation=3).close()
    assert not any(phase_times_ns(read_status_page(path), 250).values())


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
    assert ends[-1] == SENTENCE_OFFSET
    assert SENTENCE_OFFSET + SENTENCE_BYTES == PAGE_BYTES


def test_the_head_of_a_page_is_enough_for_its_words(tmp_path):
    path = tmp_path / "work.0"
    StatusPage(path, pid=17, incarnation=3).close()
    assert parse_status_page(path.read_bytes()[:HEAD_BYTES]) == read_status_page(path)
    assert parse_status_page(path.read_bytes()[: HEAD_BYTES - 8]) is None


def test_histograms_are_read_with_the_words(tmp_path):
    path = tmp_path / "work.0"
    page = StatusPage(path, pid=17, incarnation=3)
    page.histogram("latency")[5] += 7
    page.histogram("hop")[BUCKETS - 1] += 1
    found = read_whole_page(path)
    page.close()
    assert found.words["incarnation"] == 3
    assert {name: sum(found.histogram(name)) for name in ("latency", "hop")} == {
        "latency": 7,
        "hop": 1,
    }
    assert found.histogram("latency")[5] == 7
    assert found.histogram("hop")[-1] == 1
    StatusPage(path, pid=18, incarnation=4).close()
    assert not any(read_whole_page(path).histogram("latency"))


def test_what_is_no_whole_page_is_none(tmp_path):
    assert read_whole_page(tmp_path / "missing") is None
    path = tmp_path / "work.0"
    StatusPage(path, pid=17, incarnation=3).close()
    path.write_bytes(path.read_bytes()[:HEAD_BYTES])
    assert read_whole_page(path) is None


S = 1_000_000_000


@pytest.fixture
def waiting(tmp_path):
    """A page, and what it says to a reader at a time, in s."""
    path = tmp_path / "take.0"
    page = StatusPage(path, pid=17, incarnation=3)
    yield page, lambda now_s: read_whole_page(path).waiting(now_s * S)
    page.close()


def test_what_a_replica_waits_for_is_told_with_since_when(waiting):
    page, read = waiting
    assert read(100) is None
    page.say_waiting("the door is open", 100 * S)
    page.say_waiting("the door is open", 103 * S)
    assert read(104) == ("the door is open", 100 * S)


def test_what_is_not_said_again_is_over(waiting):
    page, read = waiting
    page.say_waiting("the door is open", 100 * S)
    late = 101 + int(SAID_HOLDS_S)
    assert read(late) is None
    page.say_waiting("the door is open", late * S)
    assert read(late) == ("the door is open", late * S)


def test_another_sentence_is_another_wait(waiting):
    page, read = waiting
    page.say_waiting("the door of the first hutch is open", 100 * S)
    page.say_waiting("no beam", 102 * S)
    assert read(103) == ("no beam", 102 * S)


def test_a_sentence_that_is_too_long_is_cut(waiting):
    page, read = waiting
    page.say_waiting("x" + "é" * PAGE_BYTES, 100 * S)
    why, _ = read(100)
    assert set(why) == {"x", "é"}
    assert len(why) <= SENTENCE_BYTES // 2 + 1
