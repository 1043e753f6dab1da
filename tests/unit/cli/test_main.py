import pkgutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from arroyo.cli import commands
from arroyo.cli.main import COMMANDS, arroyo


def test_help_lists_every_command():
    result = CliRunner().invoke(arroyo, ["--help"])
    assert result.exit_code == 0
    for name, summary in COMMANDS.items():
        assert name in result.stdout
        assert summary in result.stdout


def test_help_is_what_one_gets_without_a_command():
    assert "Commands:" in CliRunner().invoke(arroyo, []).stdout


def test_an_unknown_command_is_answered_with_the_nearest():
    result = CliRunner().invoke(arroyo, ["chek"])
    assert result.exit_code == 64
    assert result.stderr == "error: there is no command 'chek'; did you mean 'check'?\n"


def test_the_table_names_every_command():
    assert {module.name for module in pkgutil.iter_modules(commands.__path__)} == set(COMMANDS)


def test_help_imports_no_command_and_no_library_but_click():
    code = (
        "import sys\n"
        "from arroyo.cli.main import arroyo\n"
        "try:\n"
        "    arroyo(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'zmq', 'numpy', 'psutil', 'arroyo.cli.commands.check'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_of_a_command_stands_on_a_line_of_its_own(name):
    shown = CliRunner().invoke(arroyo, [name, "--help"]).stdout
    assert "\\b" not in shown
    lines = [line.strip() for line in shown.partition("Example")[2].splitlines()]
    assert all(line.count(f"arroyo {name} ") <= 1 for line in lines)
