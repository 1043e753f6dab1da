import contextlib
import os

import pytest
from played_supervisor import silent_supervisor

from arroyo.config.reader import load_chain
from arroyo.config.run_directory import ChainNote, RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.namesakes import find_namesake, is_same

CHAIN = '[chain]\nname = "powder"\n[stages.images]\nlistener = "module:Class"\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "one" / "chain.toml"
    path.parent.mkdir()
    path.write_text(CHAIN)
    return path


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(CHAIN)
    return path


@pytest.fixture
def run(file):
    """The run directory of the chain of the file, which a supervisor runs."""
    with silent_supervisor(file, os.environ) as found:
        yield found


def namesake(path, run, but=None):
    return find_namesake(load_chain(path), run, but)


def test_a_chain_that_runs_from_another_file_is_found(file, other, run):
    assert namesake(other, run) == file
    assert namesake(other, run, but=run.lock("supervisor")) is None


def test_the_file_itself_is_no_other_by_whatever_path(file, run, tmp_path, monkeypatch):
    (tmp_path / "link.toml").symlink_to(file)
    os.link(file, tmp_path / "mount.toml")
    monkeypatch.chdir(file.parent)
    for path in ("chain.toml", "../one/./chain.toml", "../link.toml", "../mount.toml"):
        assert namesake(path, run) is None


def test_a_file_that_an_editor_has_replaced_is_the_same(file, run):
    draft = file.with_suffix(".new")
    draft.write_text(CHAIN.replace("Class", "Other"))
    draft.replace(file)
    assert namesake(file, run) is None


def test_a_file_that_was_moved_is_the_same_unless_it_says_something_else(file, other, run):
    file.unlink()
    assert namesake(other, run) is None
    other.write_text(CHAIN.replace("Class", "Other"))
    assert namesake(other, run) == file


def test_stages_by_hand_count_while_they_run(file, other):
    run = RunDirectory.locate("powder", os.environ)
    run.create()
    run.write_note(ChainNote("powder", file, file.parent))
    assert namesake(other, run) is None
    with contextlib.ExitStack() as held:
        held.callback(Lock.acquire(run.lock("images.0")).release)
        assert namesake(other, run) == file
        file.unlink()
        assert namesake(other, run) is None, "nothing says that it is another one"
    assert namesake(other, run) is None


def test_files_that_are_gone_are_the_same_by_their_paths(tmp_path):
    assert is_same(tmp_path / "x", tmp_path / "y" / ".." / "x")
    assert not is_same(tmp_path / "x", tmp_path / "y")
