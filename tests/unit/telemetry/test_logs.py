import contextlib
import fcntl
import json
import logging
import os
import stat
import warnings

import msgspec
import pytest
from small_disk import small_files

from arroyo.telemetry.console import Console
from arroyo.telemetry.logs import FileHandler, LogLine, configure_logging, parse_line

STDERR = 2
log = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def logging_as_before():
    level = logging.getLogger().level
    yield
    configure_logging(None, "", "")
    logging.captureWarnings(False)
    logging.getLogger().setLevel(level)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "integrate.0.jsonl"


def configure(path, console=False):
    configure_logging(path, "integrate.0", "powder", Console(STDERR) if console else None)


def lines(path):
    return [msgspec.json.decode(line, type=LogLine) for line in path.read_bytes().splitlines()]


def messages(path):
    return [line.message for line in lines(path)]


def test_a_record_becomes_one_json_line_that_says_where_it_is_from(path):
    configure(path)
    log.info("read %d images", 3)
    (line,) = lines(path)
    assert line.message == "read 3 images"
    assert (line.level, line.logger, line.pid) == ("INFO", "tests.logs", os.getpid())
    assert (line.chain, line.stage, line.exception) == ("powder", "integrate.0", None)
    assert line.time.utcoffset().total_seconds() == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_exception_is_written_with_its_traceback(path):
    configure(path)
    try:
        raise ValueError("bad pixel")
    except ValueError:
        log.warning("image skipped", exc_info=True)
    (line,) = lines(path)
    assert line.message == "image skipped"
    assert line.exception.endswith("ValueError: bad pixel")


def test_debug_records_are_left_out_and_warnings_are_taken(path):
    configure(path)
    log.debug("detail")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old calibration", stacklevel=1)
    assert "old calibration" in messages(path)[0]


def test_arguments_that_do_not_fit_and_odd_bytes_are_written_all_the_same(path, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's would raise
    configure(path)
    log.warning("%d images", "many")
    log.warning("file %s", "scan\udcff.tif")
    first, second = messages(path)
    assert first.startswith("%d images (its arguments ('many',) don't fit")
    assert second == "file scan\\udcff.tif"


def test_the_file_rotates_by_size_and_three_are_kept(path):
    with contextlib.closing(FileHandler(path, "work.0", "chain", file_bytes=400)) as handler:
        for number in range(20):
            handler.emit(log.makeRecord(log.name, logging.INFO, "", 0, f"line {number}", (), None))
    files = sorted(path.parent.iterdir())
    assert files == [path, path.with_name(path.name + ".1"), path.with_name(path.name + ".2")]
    assert all(file.stat().st_size <= 400 for file in files)
    kept = [message for file in reversed(files) for message in messages(file)]
    assert kept == [f"line {number}" for number in range(20 - len(kept), 20)]


def test_a_removed_file_is_made_anew(path):
    configure(path)
    log.warning("first")
    path.unlink()
    log.warning("second")
    assert messages(path) == ["second"]


def test_a_full_disk_raises_nothing_prints_nothing_and_is_told_afterwards(path, capsys):
    configure(path)
    log.warning("first")
    with small_files(path.stat().st_size + 30):
        log.warning("torn")
        log.warning("lost")
    log.warning("after")
    assert messages(path) == ["first", "2 records before this one could not be written", "after"]
    assert capsys.readouterr() == ("", "")


def test_a_device_that_is_always_full_or_a_missing_folder_harm_nobody(tmp_path, capsys):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    configure(full)
    log.warning("lost")
    configure(tmp_path / "missing" / "log")
    log.warning("lost")
    os.mkfifo(tmp_path / "pipe")
    configure(tmp_path / "pipe")
    log.warning("lost")
    assert capsys.readouterr() == ("", "")


def test_configuring_again_replaces_what_was_there(path, tmp_path):
    configure(path)
    other = tmp_path / "other.jsonl"
    configure(other)
    log.warning("once")
    assert not path.exists()
    assert messages(other) == ["once"]


@contextlib.contextmanager
def stderr_pipe():
    """Give the reading end of a pipe that is our stderr meanwhile."""
    before = os.dup(STDERR)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.dup2(writing, STDERR)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as reader:
            yield reader
    finally:
        os.dup2(before, STDERR)
        os.close(before)


def test_a_record_of_any_size_is_cut_and_says_so(path):
    configure(path)
    for _ in range(3):
        log.warning("pixels: %s", "7" * 30_000_000)
    for line in lines(path):
        assert len(line.message) < 20_000
        assert line.message.startswith("pixels: 777")
        assert line.message.endswith("[cut: 30,000,008 characters, of which 16,384 are shown]")
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 100_000


def test_of_a_long_traceback_the_end_is_kept(path):
    configure(path)
    try:
        raise ValueError(30_000_000 * "x" + " bad pixel")
    except ValueError:
        log.warning("image skipped", exc_info=True)
    (line,) = lines(path)
    assert len(line.exception) < 20_000
    assert line.exception.startswith("[cut: ")
    assert line.exception.endswith("x bad pixel")


@pytest.mark.parametrize("library", [json, pytest], ids=["Python's own", "an installed one"])
def test_info_of_libraries_is_kept_from_the_console_and_in_the_log(path, library):
    with stderr_pipe() as reader:
        configure(path, console=True)
        for level in ("info", "warning"):
            code = compile(f"log.{level}('{level} of a library')", library.__file__, "exec")
            exec(code, {"log": logging.getLogger("library")})
        log.info("info of a stage")
        text = reader.read().decode()
    assert "info of a library" not in text
    assert "warning of a library" in text
    assert "info of a stage" in text
    assert len(messages(path)) == 3


def test_the_console_gets_readable_lines():
    with stderr_pipe() as reader:
        configure(None, console=True)
        log.warning("disk almost full")
        text = reader.read().decode()
    assert text.endswith(" WARNING integrate.0: disk almost full\n")


def test_the_journal_gets_priorities_and_is_found_by_itself(monkeypatch):
    with stderr_pipe() as reader:
        found = os.fstat(STDERR)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure(None)
        log.warning("two\nlines")
        assert reader.read() == b"<4>integrate.0: two\n<4>lines\n"


def test_without_console_or_journal_nothing_is_written_to_stderr(monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    with stderr_pipe() as reader:
        configure(None)
        log.warning("quiet")
        assert reader.read() is None


def test_a_console_that_nobody_reads_blocks_nobody_and_is_told_afterwards():
    with stderr_pipe() as reader:
        fcntl.fcntl(STDERR, fcntl.F_SETPIPE_SZ, 4096)
        configure(None, console=True)
        for number in range(200):
            log.warning("line %d %s", number, 100 * "x")
        reader.read()
        log.warning("after")
        last = reader.read().decode().splitlines()
    assert "lines left out" in last[-2]
    assert last[-1].endswith("after")


def test_a_console_that_is_gone_harms_nobody():
    with stderr_pipe() as reader:
        configure(None, console=True)
        reader.close()
        log.warning("nowhere")
        os.close(STDERR)
        log.warning("nowhere")


def line_at(time):
    rest = {"level": "INFO", "logger": "", "chain": "", "stage": "", "pid": 1, "message": ""}
    return json.dumps({"time": time, **rest}).encode()


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00", "2026-01-01T00:00:00Z"])
def test_a_line_that_is_read_has_a_time_with_a_zone(time):
    assert parse_line(line_at(time), LogLine).time.tzinfo is not None


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[]", line_at("0001-01-01T00:00:00")])
def test_what_is_no_line_of_a_log_or_has_no_time_of_this_place_is_none(raw):
    assert parse_line(raw, LogLine) is None
