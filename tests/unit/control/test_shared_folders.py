import contextlib
import errno
import fcntl
import subprocess
import sys

import pytest
from msgspec.structs import replace
from supervised_histories import LINE, make_chain, name_of

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.shared_folders import find_folders, settle_folders, settling
from arroyo.errors import AlreadyRunningError, ConfigurationError

CHAIN = make_chain(LINE)


@pytest.fixture
def environ(tmp_path):
    return {"ARROYO_RUN_DIR": str(tmp_path / "run"), "ARROYO_STATE_DIR": str(tmp_path / "state")}


@contextlib.contextmanager
def held(environ, name):
    """Hold the lock of a replica or of the supervisor, as its process does."""
    run_directory = RunDirectory.locate(CHAIN.name, environ)
    run_directory.create()
    lock = Lock.acquire(run_directory.lock(name))
    try:
        yield lock
    finally:
        lock.release()


def test_the_first_process_decides_and_commands_find_what_it_chose(environ, tmp_path):
    with held(environ, "supervisor") as lock:
        settled = settle_folders(CHAIN, environ, lock)
    elsewhere = {**environ, "ARROYO_STATE_DIR": str(tmp_path / "other")}
    assert settled.state.path == tmp_path / "state" / CHAIN.name
    assert find_folders(CHAIN.name, elsewhere).state.path == settled.state.path


def test_a_later_process_takes_what_a_running_one_has_chosen(environ, tmp_path):
    elsewhere = {**environ, "ARROYO_STATE_DIR": str(tmp_path / "other")}
    with held(environ, name_of("images.0")) as first, held(environ, "supervisor") as second:
        settled = settle_folders(CHAIN, environ, first)
        assert settle_folders(CHAIN, elsewhere, second).state.path == settled.state.path


def test_the_next_start_may_choose_again(environ, tmp_path):
    elsewhere = {**environ, "ARROYO_STATE_DIR": str(tmp_path / "other")}
    with held(environ, "supervisor") as lock:
        settle_folders(CHAIN, environ, lock)
    with held(environ, "supervisor") as lock:
        assert settle_folders(CHAIN, elsewhere, lock).state.path.is_relative_to(tmp_path / "other")


def test_the_note_of_another_chain_counts_for_nothing(environ, tmp_path):
    with held(environ, "supervisor") as lock:
        settle_folders(CHAIN, environ, lock)
    note = tmp_path / "run" / CHAIN.name / "chain"
    note.write_text(note.read_text().replace(CHAIN.name, "other", 1))
    elsewhere = {**environ, "ARROYO_STATE_DIR": str(tmp_path / "other")}
    found = find_folders(CHAIN.name, elsewhere)
    assert found.state.path.is_relative_to(tmp_path / "other")


def test_a_chain_of_the_same_name_in_another_file_is_refused_while_one_runs(environ, tmp_path):
    file, other = (replace(CHAIN, path=tmp_path / name) for name in ("one.toml", "two.toml"))
    file.path.touch()
    with held(environ, name_of("images.0")) as first, held(environ, "supervisor") as second:
        settle_folders(file, environ, first)
        with pytest.raises(AlreadyRunningError) as refused:
            settle_folders(other, environ, second)
        assert settle_folders(file, environ, second).run.read_note().file == file.path
    assert str(refused.value) == (
        f'chain "{CHAIN.name}" is already running (images.0, started from {file.path}); '
        "stop it first, or give this chain another name"
    )


def test_a_file_system_without_locks_is_told_in_a_sentence(environ, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    run_directory = RunDirectory.locate(CHAIN.name, environ)
    run_directory.create()
    monkeypatch.setattr(fcntl, "lockf", refuse)
    words = "settling can't be used: No locks available; the run directory must be a local folder"
    with pytest.raises(ConfigurationError, match=words), settling(run_directory):
        pytest.fail("it has no lock")


def test_only_one_process_at_a_time_settles(environ):
    run_directory = RunDirectory.locate(CHAIN.name, environ)
    run_directory.create()
    with settling(run_directory):
        tries = (
            "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        )
        words = [sys.executable, "-c", tries, str(run_directory.settling)]
        assert b"BlockingIOError" in subprocess.run(words, check=False, capture_output=True).stderr
    assert subprocess.run(words, check=False).returncode == 0
