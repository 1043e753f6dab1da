from click.testing import CliRunner

from arroyo.cli.commands.scale import command
from arroyo.supervision.decisions.events import State


def run(*arguments, code=0):
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_processes_that_work_are_named(played):
    played.history.stop_stage("integrate")
    played.end("integrate.0")
    assert run("chain", "integrate", 1) == "integrate: integrate.0\n"
    assert played.history.state("integrate.0") is State.STARTING


def test_more_than_there_are_links_for_is_refused(played):
    assert "expected a stage and 1 to 1" in run(played.path, "integrate", 2, code=64)


def test_none_at_all_is_a_stop(played):
    assert "0 is not in the range" in run("chain", "integrate", 0, code=64)
