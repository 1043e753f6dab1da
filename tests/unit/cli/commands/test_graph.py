"""`arroyo graph`: which drawing it prints."""

import pytest
from click.testing import CliRunner

from arroyo.cli.commands.graph import command


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(
        '[chain]\nname = "c"\n[stages.a]\nlistener = "m:A"\n'
        '[stages.b]\npublisher = "m:B"\ninputs = ["a"]\n'
    )
    return str(path)


@pytest.mark.parametrize(
    ("form", "start"), [("terminal", "c\n\na"), ("mermaid", "flowchart"), ("dot", "digraph")]
)
def test_the_command_draws_what_is_asked_for(path, form, start):
    result = CliRunner().invoke(command, [path, "--format", form])
    assert result.exit_code == 0
    assert result.stdout.startswith(start)


def test_a_terminal_without_unicode_gets_plain_lines(path):
    result = CliRunner(charset="ascii").invoke(command, [path])
    assert result.exit_code == 0
    assert "`-> b" in result.stdout


def test_a_format_that_is_not_there_is_a_usage_error(path):
    result = CliRunner().invoke(command, [path, "--format", "svg"])
    assert result.exit_code == 64
