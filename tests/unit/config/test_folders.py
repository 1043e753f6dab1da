"""Both folders of a chain, which go together."""

import os

import pytest

from arroyo.config.folders import Folders
from arroyo.errors import ConfigurationError


@pytest.fixture
def folders(tmp_path):
    return Folders.at(str(tmp_path / "run"), str(tmp_path / "state"))


def test_both_are_found_by_the_environment(tmp_path, folders):
    environ = {"ARROYO_RUN_DIR": str(tmp_path / "a"), "ARROYO_STATE_DIR": str(tmp_path / "b")}
    found = Folders.locate("saxs", environ)
    assert (found.run.path, found.state.path) == (tmp_path / "a" / "saxs", tmp_path / "b" / "saxs")


def test_both_are_made_private(folders):
    assert folders.obstacles() == []
    folders.create()
    assert {each.path.stat().st_mode & 0o777 for each in folders} == {0o700}


def test_each_that_can_not_be_made_is_told(folders):
    for each in folders:
        each.path.touch()
    assert len(folders.obstacles()) == 2


def test_it_is_never_inside_the_run_directory(tmp_path):
    both = str(tmp_path / "one")
    folders = Folders.locate("saxs", {"ARROYO_RUN_DIR": both, "ARROYO_STATE_DIR": both})
    with pytest.raises(ConfigurationError, match="which may vanish with a reboot"):
        folders.create()
    assert len(folders.obstacles()) == 1
    assert os.listdir(tmp_path) == []
