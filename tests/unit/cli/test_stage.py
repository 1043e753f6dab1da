"""`arroyo-stage`: what it answers before a stage runs; the rest is in the integration tests."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from arroyo.cli.stage import main

START = "from arroyo.cli.stage import main; main()"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.toml", "work"], "none.toml"),
        (["chain.toml"], "Missing argument 'STAGE'"),
        (["chain.toml", "work", "--replica", "-1"], "-1 is not in the range"),
    ],
)
def test_what_can_not_be_is_said(arguments, words):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 64
    assert words in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wrk"], "did you mean 'work'?"),
        (["work", "--replica", "3"], "work"),
    ],
)
def test_what_the_chain_does_not_have_ends_the_process_with_what_there_is(
    chain_file, arguments, words
):
    command = [sys.executable, "-c", START, chain_file, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 64
    assert words in ended.stdout + ended.stderr
