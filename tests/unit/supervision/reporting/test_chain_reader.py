import os

import pytest
from played_supervisor import accept, silent_supervisor

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
def file(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


def rows(reader):
    return len(reader.read().status["stages"])


def test_a_chain_that_does_not_run_is_as_its_file_has_it(file):
    reader = ChainReader(file, os.environ)
    assert rows(reader) == 1
    file.write_text(f"{CHAIN}replicas = 2\n")
    assert rows(reader) == 2
    file.write_text(f"{CHAIN}replicas = -2\n")
    assert rows(reader) == 2
    file.write_text(CHAIN.replace("saxs", "other"))
    assert (rows(reader), reader.chain.name) == (2, "saxs")
    file.unlink()
    assert rows(reader) == 2


def test_a_link_to_a_file_is_followed(file, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    reader = ChainReader(link, os.environ)
    assert rows(reader) == 1
    file.write_text(f"{CHAIN}replicas = 2\n")
    assert rows(reader) == 2


def test_a_running_chain_is_as_its_supervisor_has_it(file):
    file.write_text(f"{CHAIN}replicas = 2\n")
    reader = ChainReader(file, os.environ)
    with silent_supervisor(file, os.environ) as directory:
        assert rows(reader) == 2
        file.write_text(f"{CHAIN}replicas = 3\n")
        assert rows(reader) == rows(ChainReader(file, os.environ)) == 2
        accept(directory, file.read_text())
        assert rows(reader) == 3


def changes(reader):
    return [note for note in notes(reader.read().status) if note.startswith("chain.toml")]


def test_a_file_that_is_not_what_runs_is_told_of(file):
    reader = ChainReader(file, os.environ)
    with silent_supervisor(file, os.environ) as directory:
        assert changes(reader) == []
        file.write_text(f"{CHAIN}nice = 3\n")
        (told,) = changes(reader)
        assert told == "chain.toml has changed since; to apply it: arroyo reload saxs"
        accept(directory, file.read_text())
        assert changes(reader) == []
        file.write_text(CHAIN)
        assert len(changes(reader)) == 1
    assert changes(reader) == [], "it does not run any more"


def test_a_file_with_mistakes_is_refused_at_first(file):
    file.write_text("[chain]\nnam = 3\n")
    with pytest.raises(ConfigurationError):
        ChainReader(file, os.environ)


def test_a_supervisor_that_gives_no_answer_is_told_of(file):
    reader = ChainReader(file, os.environ)
    assert reader.read().status["supervisor_answers"] is None
    with silent_supervisor(file, os.environ):
        assert reader.read().status["supervisor_answers"] is False
