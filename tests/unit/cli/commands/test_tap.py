"""`arroyo tap` where there is nothing to look at; the integration tests have what it shows."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from arroyo.cli.commands.tap import command
from arroyo.control.locks import Lock
from arroyo.control.tap_file import TapFile


def tap(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def running(chain_directory, chain_file):
    """The chain file of a chain of which `work.0` runs, in this process."""
    lock = Lock.acquire(chain_directory.lock("work.0"))
    yield chain_file
    lock.release()


def test_a_chain_that_is_not_there_is_named():
    result = tap("nothing", "work")
    assert result.exit_code == 64
    assert "no running chain 'nothing'" in result.output


def test_a_stage_that_is_not_there_is_named(running):
    result = tap(running, "wrok")
    assert result.exit_code == 64
    assert "no stage or process 'wrok'; did you mean 'work'?" in result.output
    assert tap(running, "work.1").exit_code == 64


def test_a_program_has_nothing_to_tap(running):
    with Path(running).open("a") as file:
        file.write('[stages.server]\ncommand = ["sleep", "9"]\n')
    result = tap(running, "server")
    assert result.exit_code == 64
    assert "server of chain saxs is a program" in result.output


@pytest.mark.parametrize("stage", ["images", "images.0"])
def test_a_stage_that_does_not_run_is_named(running, stage):
    result = tap(running, stage)
    assert result.exit_code == 75
    assert f"{stage} of chain saxs does not run, and no supervisor starts it" in result.output


def test_a_chain_that_has_never_run_is_not_tapped(chain_file):
    result = tap(chain_file, "work")
    assert result.exit_code == 75
    assert "chain saxs does not run; start it with: arroyo-supervise" in result.output
    assert "--in-process" in result.output


def test_two_commands_do_not_look_at_one_process(running, chain_directory):
    other = TapFile(chain_directory.tap("work.0"))
    result = tap(running, "work")
    assert result.exit_code == 75
    assert f"another command (pid {os.getpid()}) looks at work.0" in result.output
    other.close()


def test_a_recording_replaces_no_file(running, chain_directory, tmp_path):
    taken = tmp_path / "run.rec"
    taken.write_text("precious")
    result = tap(running, "work", "--save", taken)
    assert result.exit_code == 64
    assert f"{taken} exists already" in result.output
    assert taken.read_text() == "precious"
    assert list((chain_directory.path / "tap").iterdir()) == []


@pytest.mark.parametrize("rate", ["0", "21", "nan"])
def test_a_rate_out_of_bounds_is_refused(running, rate):
    assert tap(running, "work", "--rate", rate).exit_code == 64


def test_the_chain_of_another_user_is_not_tapped(running, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    result = tap(running, "work")
    assert result.exit_code == 64
    assert "belongs to" in result.output
