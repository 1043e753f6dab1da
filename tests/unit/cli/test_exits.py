import os
import subprocess
import sys

import click
import pytest
from chains import PROGRAMS
from click.testing import CliRunner

from arroyo.cli.exits import Command, exiting
from arroyo.errors import (
    AlreadyRunningError,
    ArroyoError,
    ConfigurationError,
    StageError,
    UnavailableError,
    UsageError,
)


def command_that(action):
    @click.command(cls=Command)
    @click.option("--number", type=int)
    def command(number):
        return action()

    return command


def raising(error):
    def action():
        raise error

    return action


def invoke(action, *arguments, debug=""):
    return CliRunner(env={"ARROYO_DEBUG": debug}).invoke(command_that(action), arguments)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("what is that"), 64),
        (ConfigurationError("what is that"), 78),
        (AlreadyRunningError("what is that"), 75),
        (UnavailableError("what is that"), 75),
        (StageError("what is that"), 70),
    ],
)
def test_an_error_is_one_sentence_and_its_exit_code(error, code):
    result = invoke(raising(error))
    assert (result.exit_code, result.stderr, result.stdout) == (code, "error: what is that\n", "")


def test_each_problem_of_a_configuration_has_its_line():
    result = invoke(raising(ConfigurationError("a: one", "b: two")))
    assert result.stderr == "error: a: one\nerror: b: two\n"


@pytest.mark.parametrize(
    ("arguments", "debug"), [([], "1"), (["--debug"], "")], ids=["variable", "option"]
)
def test_a_traceback_is_for_those_who_ask(arguments, debug):
    result = invoke(raising(UsageError("what is that")), *arguments, debug=debug)
    assert isinstance(result.exception, ArroyoError)


def test_a_wrong_command_line_ends_with_64():
    result = invoke(lambda: None, "--number", "two")
    assert result.exit_code == 64
    assert result.stderr.startswith("error: Invalid value for '--number'")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_ends_with_130_and_says_nothing():
    result = invoke(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr.strip() == ""


def test_a_command_ends_with_the_number_that_it_returns():
    assert invoke(lambda: 3).exit_code == 3
    assert invoke(lambda: None).exit_code == 0


def test_a_file_that_can_not_be_used_is_named(tmp_path):
    result = invoke((tmp_path / "missing").read_text)
    assert result.exit_code == 74
    words = f"error: {tmp_path / 'missing'} can't be used: No such file or directory\n"
    assert result.stderr == words


def test_mistakes_of_our_own_are_not_hidden():
    assert isinstance(invoke(raising(ZeroDivisionError())).exception, ZeroDivisionError)


def test_a_function_may_end_so_as_well():
    with pytest.raises(SystemExit) as caught:
        exiting()(raising(UsageError("what")))()
    assert caught.value.code == 64


def run_unread(code):
    """Run a program whose output nobody reads; return how it ended, and what it said of that."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    return ended.returncode, ended.stderr


def test_a_reader_that_went_away_is_no_error():
    code = (
        "from arroyo.cli.exits import exiting\n"
        "with exiting():\n"
        "    for _ in range(100_000):\n"
        "        print('much more than a pipe takes')\n"
    )
    assert run_unread(code) == (0, b"")


def test_a_command_whose_account_nobody_reads_keeps_its_exit_code():
    code = (
        "import click\n"
        "from arroyo.cli.exits import Command, say_last\n"
        "@click.command(cls=Command)\n"
        "def command():\n"
        "    say_last('something was lost')\n"
        "    return 65\n"
        "command()\n"
    )
    assert run_unread(code) == (65, b"")


def test_a_pipe_of_a_stage_that_broke_is_a_failure():
    code = (
        "import click\n"
        "from arroyo.cli.exits import Command\n"
        "@click.command(cls=Command)\n"
        "def command():\n"
        "    raise BrokenPipeError(32, 'Broken pipe')\n"
        "command()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (74, b"error: input or output failed: Broken pipe\n")


def test_a_full_disk_behind_stdout_is_one_sentence():
    command = [PROGRAMS / "arroyo", "schema"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    words = "error: input or output failed: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (74, words)


def test_what_is_no_text_is_shown_escaped():
    code = (
        "import click\n"
        "from arroyo.cli.exits import Command\n"
        "click.command(cls=Command)(lambda: click.echo('caf\\udce9'))()\n"
    )
    environ = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"caf\\udce9\n", b"")


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_is_written_to_a_closed_stdout_gets_into_no_file(tmp_path, closed):
    program = tmp_path / "program.py"
    program.write_text(
        "import click\n"
        "from arroyo.cli.exits import Command\n"
        "@click.command(cls=Command)\n"
        "def command():\n"
        "    with open('file', 'w') as file:\n"
        "        click.echo('to nobody')\n"
        "        print('to nobody')\n"
        "command()\n"
    )
    command = f"exec {sys.executable} {program} {closed}"
    ended = subprocess.run(command, shell=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0
    assert (tmp_path / "file").read_text() == ""
