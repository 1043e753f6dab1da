from arroyo.protocol.status_page import MAGIC, PAGE_BYTES, Phase
from arroyo.telemetry.status_page import StatusPage, read_status_page


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
