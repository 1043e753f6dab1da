import os
import socket
import stat
from pathlib import Path

import pytest
from small_disk import fill

from arroyo.config import run_directory
from arroyo.config.run_directory import ChainNote, RunDirectory, list_known_chains
from arroyo.control.requests import request
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import ReplicaName

NAME = ReplicaName("images", 0)
NOBODY = 65534


@pytest.fixture
def user(monkeypatch):
    """Let this process be of another user, as far as it asks for that itself."""
    return lambda uid: monkeypatch.setattr("os.geteuid", lambda: uid)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Have a /run/arroyo and a /run/user of the test's own."""
    monkeypatch.setattr(run_directory, "SYSTEM", tmp_path / "run" / "arroyo")
    monkeypatch.setattr(run_directory, "_USERS", tmp_path / "run" / "user")
    return tmp_path / "run"


def found(environ):
    return str(RunDirectory.locate("powder", environ).path)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ARROYO_RUN_DIR": "/srv/own", "RUNTIME_DIRECTORY": "/run/a"}, "/srv/own/powder"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/x"}, "/run/a/powder"),
        ({"RUNTIME_DIRECTORY": "/run/arroyo/powder"}, "/run/arroyo/powder"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/arroyo/powder"),
        ({"XDG_RUNTIME_DIR": "not/absolute", "HOME": "/home/mx"}, "{system}/arroyo/powder"),
        ({"HOME": "/home/mx"}, "{system}/arroyo/powder"),
    ],
)
def test_the_environment_says_where_it_is(environ, expected, system, user):
    user(0)
    assert found(environ) == expected.format(system=system)


def test_an_ordinary_user_has_it_in_the_session_or_at_home(system, user):
    user(os.getuid() or NOBODY)
    environ = {"HOME": "/home/mx"}
    assert found(environ) == "/home/mx/.cache/arroyo/run/powder"
    session = system / "user" / str(os.geteuid())
    session.mkdir(parents=True)
    os.chown(session, os.geteuid(), -1)
    assert found(environ) == f"{session}/arroyo/powder"


def test_the_folder_that_systemd_has_made_for_the_user_comes_before_the_session(system):
    made = system / "arroyo" / "powder"
    made.mkdir(parents=True)
    assert found({"XDG_RUNTIME_DIR": "/run/user/7"}) == str(made)


def test_the_session_of_another_user_is_left_alone(system, tmp_path, user):
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/home/mx"}
    user(os.getuid() + 1)
    assert found(environ) == "/home/mx/.cache/arroyo/run/powder"


def test_a_user_without_a_home_is_told_what_to_set(system, user):
    user(4_000_000)
    with pytest.raises(ConfigurationError, match="set HOME, or ARROYO_RUN_DIR"):
        found({})


def test_it_is_made_private_with_all_its_parts_whatever_the_umask_is(tmp_path):
    directory = RunDirectory(tmp_path / "above" / "run")
    before = os.umask(0)
    try:
        directory.create()
        directory.create()
    finally:
        os.umask(before)
    parts = [directory.path, directory.socket("in", NAME).parent, directory.log(NAME).parent]
    assert {stat.S_IMODE(part.stat().st_mode) for part in parts} == {0o700}
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o755


def test_a_full_disk_is_worth_trying_again(tmp_path, small_disk):
    disk = small_disk(64)
    directory = RunDirectory(disk)
    directory.create()
    fill(disk)
    with pytest.raises(UnavailableError, match="No space left on device"):
        directory.write_note(ChainNote("powder", tmp_path / "chain.toml", tmp_path / "state"))
    assert directory.chain_file("powder") is None
    assert not list(disk.glob("chain*"))


def test_a_stage_comes_back_on_a_full_disk_that_knows_its_chain(tmp_path, small_disk):
    disk = small_disk(64)
    note = ChainNote("powder", tmp_path / "chain.toml", tmp_path / "state")
    directory = RunDirectory(disk)
    directory.create()
    directory.write_note(note)
    fill(disk)
    directory.create()
    directory.write_note(note)
    assert directory.chain_file("powder") == note.file


def test_a_socket_in_a_folder_whose_name_is_no_text_has_an_address(tmp_path):
    directory = RunDirectory(tmp_path / os.fsdecode(b"Li\xe8ge"))
    directory.create()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(directory.address("in", NAME).encode().removeprefix(b"ipc://"))
    assert (directory.path / "in" / str(NAME)).is_socket()


def test_a_socket_whose_path_is_too_long_is_the_same_for_all(tmp_path):
    long = tmp_path / ("x" * 100) / "powder"
    ours, theirs = RunDirectory(long), RunDirectory(long)
    ours.create()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(ours.socket("s", "control")))
        server.listen()
        client.connect(str(theirs.control))
    assert stat.S_ISSOCK((long / "s" / "control").stat().st_mode)
    assert ours.address("in", NAME) == f"ipc://{ours.socket('in', NAME)}"
    assert len(os.fsencode(ours.socket("back", ReplicaName("s" * 63, 10_000)))) <= 107


def test_nobody_answers_where_a_folder_with_a_long_name_is_gone(tmp_path):
    gone = RunDirectory(tmp_path / ("x" * 100) / "powder")
    with pytest.raises(UnavailableError, match="no supervisor answers"):
        request(gone.control, "status")


def test_a_folder_with_a_long_name_that_was_made_anew_is_found(tmp_path):
    directory = RunDirectory(tmp_path / ("x" * 100))
    for _ in range(2):
        directory.create()
        directory.control.touch()
        assert (directory.path / "s" / "control").exists()
        directory.path.rename(directory.path.with_name("old"))
        (tmp_path / "old").rename(tmp_path / f"old{os.urandom(4).hex()}")


def test_the_chain_that_it_belongs_to_is_noted_down(tmp_path):
    note = ChainNote("powder", tmp_path / "chain\xe4.toml", tmp_path / "state")
    environ = {"ARROYO_RUN_DIR": str(tmp_path)}
    directory = RunDirectory.locate("powder", environ)
    assert directory.read_note() is None
    assert list_known_chains(environ) == []
    directory.create()
    directory.write_note(note)
    assert directory.read_note() == note
    assert directory.chain_file("powder") == note.file
    assert directory.chain_file("other") is None
    assert list_known_chains(environ) == ["powder"]


def test_a_note_that_stands_already_is_not_written_again(tmp_path):
    directory = RunDirectory(tmp_path)
    note = ChainNote("powder", tmp_path / "chain.toml", tmp_path / "state")
    directory.write_note(note)
    before = (tmp_path / "chain").stat()
    directory.write_note(note)
    assert (tmp_path / "chain").stat().st_ino == before.st_ino


def test_a_note_that_is_broken_is_none(tmp_path):
    directory = RunDirectory(tmp_path)
    (tmp_path / "chain").write_text("powder")
    assert directory.read_note() is None


def test_known_chains_are_those_that_their_names_lead_to(tmp_path):
    environ = {"ARROYO_RUN_DIR": str(tmp_path)}
    directory = RunDirectory(tmp_path / "another_name")
    directory.create()
    directory.write_note(ChainNote("powder", Path("/chain.toml"), Path("/state")))
    assert list_known_chains(environ) == []


def test_a_copy_of_a_chain_file_stays_while_another_is_kept(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    first = directory.keep_version("name = 'Zürich'")
    second = directory.keep_version("name = 'Genf'")
    assert first == directory.version("name = 'Zürich'")
    assert first.read_text("utf-8") == "name = 'Zürich'"
    assert second.read_text("utf-8") == "name = 'Genf'"
    assert len(list(first.parent.iterdir())) == 2, "no draft is left"
    for text in ("name = 'Zürich'", "name = 'Genf'"):
        directory.accept_version(text)
        assert directory.accepted.read_text("utf-8") == text
    directory.forget_versions()
    assert list(first.parent.iterdir()) == []
