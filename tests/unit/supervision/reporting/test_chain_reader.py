import contextlib

import pytest

from arroyo.config.reader import load_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.shared_folders import settle_folders
from arroyo.errors import ConfigurationError
from arroyo.supervision.reporting.chain_reader import ChainReader
from arroyo.supervision.reporting.status_table import notes

CHAIN = """
[chain]
name = "saxs"
[stages.images]
listener = "module:Class"
"""


@pytest.fixture
def environ(tmp_path):
    return {"ARROYO_RUN_DIR": str(tmp_path / "run"), "ARROYO_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


@contextlib.contextmanager
def supervisor(file, environ):
    """A supervisor that has started the chain and does not answer; this process plays it."""
    chain = load_chain(file, environ)
    directory = RunDirectory.locate("saxs", environ)
    directory.create()
    lock = Lock.acquire(directory.lock("supervisor"))
    settle_folders(chain, environ, lock)
    accept(directory, chain.text)
    try:
        yield directory
    finally:
        lock.release()


def accept(directory, text):
    directory.keep_version(text)
    directory.accept_version(text)


def rows(reader):
    return len(reader.read().status["stages"])


def test_a_chain_that_does_not_run_is_as_its_file_has_it(file, environ):
    reader = ChainReader(file, environ)
    assert rows(reader) == 1
    file.write_text(f"{CHAIN}replicas = 2\n")
    assert rows(reader) == 2
    file.write_text(f"{CHAIN}replicas = -2\n")
    assert rows(reader) == 2
    file.write_text(CHAIN.replace("saxs", "other"))
    assert (rows(reader), reader.chain.name) == (2, "saxs")
    file.unlink()
    assert rows(reader) == 2


def test_a_running_chain_is_as_its_supervisor_has_it(file, environ):
    file.write_text(f"{CHAIN}replicas = 2\n")
    reader = ChainReader(file, environ)
    with supervisor(file, environ) as directory:
        assert rows(reader) == 2
        file.write_text(f"{CHAIN}replicas = 3\n")
        assert rows(reader) == rows(ChainReader(file, environ)) == 2
        accept(directory, file.read_text())
        assert rows(reader) == 3


def test_a_file_that_is_not_what_runs_is_told_of(file, environ):
    reader = ChainReader(file, environ)
    with supervisor(file, environ) as directory:
        assert notes(reader.read().status) == []
        file.write_text(f"{CHAIN}nice = 3\n")
        (told,) = notes(reader.read().status)
        assert told == "chain.toml has changed since; to apply it: arroyo reload saxs"
        accept(directory, file.read_text())
        assert notes(reader.read().status) == []
        file.write_text(CHAIN)
        assert len(notes(reader.read().status)) == 1
    assert notes(reader.read().status) == [], "it does not run any more"


def test_a_file_with_mistakes_is_refused_at_first(file, environ):
    file.write_text("[chain]\nnam = 3\n")
    with pytest.raises(ConfigurationError):
        ChainReader(file, environ)
