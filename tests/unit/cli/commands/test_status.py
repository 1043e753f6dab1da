"""`arroyo status` of a chain that does not run; the rest is in the integration tests."""

import json

from invoked import run_by

from arroyo.cli.commands.status import command

run = run_by(command)


def test_nothing_of_it_is_running(chain_file):
    assert run(chain_file) == "chain saxs: STOPPED (no supervisor)\nnone of its processes runs\n"


def test_programs_get_one_object(chain_file):
    assert json.loads(run(chain_file, "--json"))["state"] == "STOPPED"


def test_the_history_of_a_stage_that_does_not_run_is_what_it_left(chain_file):
    assert run(chain_file, "--history", "work") == "work.0 is not running, and left no history\n"


def test_the_history_is_for_people(chain_file):
    assert "found --json with --history" in run(chain_file, "--history", "work", "--json", code=64)
