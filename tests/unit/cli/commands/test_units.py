import pwd

import pytest
from click.testing import CliRunner
from small_disk import small_files

from arroyo.cli.commands.units import command
from arroyo.cli.main import arroyo

CHAIN = '[chain]\nname = "powder"\n[stages.images]\nlistener = "m:L"\n'


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN + '[stages.live]\npublisher = "m:P"\ninputs = ["images"]\n')
    return path


def run(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_units_are_printed_with_their_names(chain):
    result = run(chain, "--user", "beamline")
    assert result.exit_code == 0
    assert "# arroyo-powder.service\n[Unit]\n" in result.stdout
    assert "# arroyo-powder-images.service\n[Unit]\n" in result.stdout
    assert "\nUser=beamline\n" in result.stdout


def test_units_are_written_to_a_folder_that_is_made(chain, tmp_path):
    folder = tmp_path / "systemd" / "system"
    result = run(chain, "--output", folder)
    assert result.exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert "arroyo-powder.target" in names
    assert all(str(folder / name) in result.stdout for name in names)


def test_the_user_is_by_default_the_one_who_asks(chain):
    user = pwd.getpwuid(chain.stat().st_uid).pw_name
    assert f"\nUser={user}\n" in run(chain).stdout


def test_a_user_that_can_not_be_one_is_refused(chain):
    result = run(chain, "--user", "me\nExecStartPre=/bin/sh")
    assert result.exit_code == 64
    assert "is not the name of a user" in result.stderr


def test_a_folder_that_can_not_be_written_is_named(chain, tmp_path):
    (tmp_path / "file").touch()
    result = run(chain, "--output", tmp_path / "file")
    assert result.exit_code == 64
    assert str(tmp_path / "file") in result.stderr


def test_a_full_disk_leaves_the_units_that_were_there(chain, tmp_path):
    run(chain, "--output", tmp_path / "units")
    before = {path: path.read_text() for path in (tmp_path / "units").iterdir()}
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in before), "systemctl cat shows them"
    with small_files(100):
        result = run(chain, "--output", tmp_path / "units", "--user", "beamline")
    assert result.exit_code == 64
    assert "the units can't be written to" in result.stderr
    assert {path: path.read_text() for path in (tmp_path / "units").iterdir()} == before


def test_a_chain_file_with_a_mistake_gives_no_units(chain, tmp_path):
    chain.write_text(CHAIN + "[stages.live]\n")
    result = run(chain, "--output", tmp_path / "units")
    assert result.exit_code == 78
    assert not (tmp_path / "units").exists()


def test_units_is_a_command_of_arroyo(chain):
    result = CliRunner().invoke(arroyo, ["units", str(chain)])
    assert result.exit_code == 0
