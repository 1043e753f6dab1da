import os
import stat
from pathlib import Path

import pytest
from small_disk import fill

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory, list_known_chains
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import ReplicaName

NAME = ReplicaName("images", 0)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "/run/arroyo/powder"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/arroyo/powder"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/x"}, "/run/a/powder"),
        ({"ARROYO_RUN_DIR": "/srv/own", "RUNTIME_DIRECTORY": "/run/a"}, "/srv/own"),
    ],
)
def test_the_environment_says_where_it_is(environ, expected):
    assert RunDirectory.locate("powder", environ).path == Path(expected)


def test_it_is_made_private_with_all_its_parts(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    directory.create()
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert directory.socket("in", NAME).parent.is_dir()
    assert directory.log(NAME).parent.is_dir()


def test_a_folder_that_others_could_enter_is_closed_to_them(tmp_path):
    path = tmp_path / "run"
    path.mkdir(mode=0o755)
    RunDirectory(path).create()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_file_in_its_place_is_a_configuration_error(tmp_path):
    (tmp_path / "run").write_text("")
    directory = RunDirectory(tmp_path / "run" / "powder")
    assert "is not a folder" in directory.obstacle()
    with pytest.raises(ConfigurationError, match="ARROYO_RUN_DIR"):
        directory.create()


def test_a_full_disk_is_worth_trying_again(tmp_path, small_disk):
    disk = small_disk(64)
    fill(disk)
    directory = RunDirectory(disk)
    with pytest.raises(UnavailableError, match="No space left on device"):
        directory.create_for(Chain("powder", tmp_path, tmp_path / "chain.toml", {}))
    assert directory.chain_file("powder") is None
    assert not list(disk.glob("chain*"))


def test_a_stage_comes_back_on_a_full_disk_that_knows_its_chain(tmp_path, small_disk):
    disk = small_disk(64)
    chain = Chain("powder", tmp_path, tmp_path / "chain.toml", {})
    directory = RunDirectory(disk)
    directory.create_for(chain)
    fill(disk)
    directory.create_for(chain)
    assert directory.chain_file("powder") == chain.path


def test_looking_for_obstacles_makes_nothing(tmp_path):
    assert RunDirectory(tmp_path / "a" / "b").obstacle() is None
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_gets_a_short_twin_of_its_own(tmp_path):
    directory = RunDirectory(tmp_path / ("x" * 100))
    one, other = directory.socket("in", NAME), directory.socket("in", ReplicaName("images", 1))
    assert len(os.fsencode(one)) <= 107
    assert one != other
    assert one == directory.socket("in", NAME)
    assert directory.address("in", NAME) == f"ipc://{one}"


def test_the_chain_that_it_belongs_to_is_noted_down(tmp_path):
    chain = Chain("powder", tmp_path, tmp_path / "chain.toml", {})
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    directory = RunDirectory.locate("powder", environ)
    assert directory.chain_file("powder") is None
    assert list_known_chains(environ) == []
    directory.create_for(chain)
    assert directory.chain_file("powder") == chain.path
    assert directory.chain_file("other") is None
    assert list_known_chains(environ) == ["powder"]


def test_a_note_that_is_broken_is_none(tmp_path):
    directory = RunDirectory(tmp_path)
    (tmp_path / "chain").write_text("powder")
    assert directory.chain_file("powder") is None
