from invoked import run_by

from arroyo.cli.commands.stop import command
from arroyo.supervision.decisions.events import State

run = run_by(command)


def test_a_chain_is_stopped_and_its_account_shown(played):
    assert run(played.path) == "chain chain ended with 0\n"
    assert played.history.exit_code == 0


def test_the_exit_code_is_that_of_the_chain(played):
    played.history.machine._note_trouble("something was lost", 65)
    assert run("chain", code=65) == "chain chain ended with 65\n"


def test_a_stage_is_held_until_it_is_started(played):
    told = "stopped integrate.0; it goes on with: arroyo start chain integrate\n"
    assert run("chain", "integrate") == told
    assert played.history.state("integrate.0") is State.STOPPED
    assert run("chain", "integrate.0").startswith("stopped integrate.0")


def test_a_stage_that_has_finished_is_not_stopped(played):
    played.end("images.0")
    assert "images has finished" in run("chain", "images", code=64)


def test_an_unknown_stage_is_answered_with_those_there_are(played):
    assert "did you mean 'images'?" in run("chain", "image", code=64)
