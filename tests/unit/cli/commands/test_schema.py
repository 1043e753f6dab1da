"""`arroyo schema` prints what editors need."""

from click.testing import CliRunner

from arroyo.cli.commands.schema import command
from arroyo.config.schema import render_schema


def test_it_prints_the_schema_and_nothing_else():
    result = CliRunner().invoke(command, [])
    assert (result.exit_code, result.output) == (0, render_schema())
