from log_lines import log_line

from arroyo.supervision.watching.replica_files import idle_since, last_error, last_lines
from arroyo.telemetry.status_words import Phase


def write_log(path, *lines):
    path.write_bytes(b"".join(lines))


def test_the_last_error_of_the_process_is_found(tmp_path):
    log = tmp_path / "images.0.jsonl"
    write_log(
        log,
        log_line("ERROR", "first"),
        log_line("CRITICAL", "second\nand more"),
        log_line("INFO", "bye"),
        log_line("ERROR", "of its successor", pid=8),
    )
    assert last_error(log, 7) == "second; and more"


def test_the_last_lines_of_the_process_are_found_in_their_order(tmp_path):
    log = tmp_path / "images.0.jsonl"
    write_log(
        log, *[log_line("INFO", str(number)) for number in range(5)], log_line("INFO", "x", pid=8)
    )
    assert last_lines(log, 7, 3) == ["INFO 2", "INFO 3", "INFO 4"]


def test_a_log_without_errors_or_without_sense_gives_none(tmp_path):
    log = tmp_path / "images.0.jsonl"
    assert last_error(log, 7) == ""
    log.write_bytes(b'\xff\n{"level": "ERROR"}\nnot json\n')
    assert last_error(log, 7) == ""


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = tmp_path / "images.0.jsonl"
    write_log(log, log_line("ERROR", "long ago"), *[log_line("INFO", "x" * 1000)] * 100)
    assert last_error(log, 7) == ""


def test_a_replica_is_idle_while_its_page_says_so():
    assert idle_since({"phase": Phase.IDLE, "phase_since_ns": 2_500_000_000}) == 2.5
    assert idle_since({"phase": Phase.PROCESS, "phase_since_ns": 2_500_000_000}) is None
    assert idle_since({}) == 0.0
