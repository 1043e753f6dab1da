import contextlib

import pytest
from supervised_histories import LINE, make_chain, name_of

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.shared_folders import find_folders, settle_folders

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
