"""`arroyo status` of a chain that does not run; the rest is in the integration tests."""

import json

import pytest
from click.testing import CliRunner

from arroyo.cli.status import command

CHAIN = """
[chain]
name = "saxs"

[stages.images]
listener = "own:Listener"

[stages.work]
publisher = "own:Publisher"
inputs = ["images"]
"""


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return str(path)


def run(*arguments, code=0):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_nothing_of_it_is_running(chain):
    assert run(chain) == "chain saxs: STOPPED (no supervisor)\nnothing of it is running\n"


def test_programs_get_one_object(chain):
    assert json.loads(run(chain, "--json"))["state"] == "STOPPED"


def test_the_history_of_a_stage_that_does_not_run_is_what_it_left(chain):
    assert run(chain, "--history", "work") == "work.0 is not running, and left no history\n"


def test_the_history_is_for_people(chain):
    assert "it has no --json" in run(chain, "--history", "work", "--json", code=64)
