"""Fixtures of the tests that run no chain of processes."""

import pytest

from arroyo.config.run_directory import RunDirectory


@pytest.fixture
def run_directory(tmp_path):
    """A run directory that has been made."""
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory
