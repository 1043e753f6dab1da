"""Fixtures of the tests that run no chain of processes."""

import os

import pytest

from arroyo.config.run_directory import ChainNote, RunDirectory

CHAIN = """
[chain]
name = "saxs"

[stages.images]
listener = "own:Listener"

[stages.work]
publisher = "own:Publisher"
inputs = ["images"]
"""


@pytest.fixture
def chain_file(tmp_path):
    """The file of a chain of `images` and `work`, which has never run."""
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


@pytest.fixture
def small_chain(tmp_path):
    """The file of the chain `small` of a listener, which has never run."""
    path = tmp_path / "small.toml"
    path.write_text('[chain]\nname = "small"\n[stages.images]\nlistener = "module:Class"\n')
    return path


@pytest.fixture
def chain_directory(chain_file):
    """The run directory of this chain, as one that has run leaves it."""
    directory = RunDirectory.locate("saxs", os.environ)
    directory.create()
    directory.write_note(ChainNote("saxs", chain_file, chain_file.parent))
    return directory


@pytest.fixture
def run_directory(tmp_path):
    """A run directory that has been made."""
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory
