from invoked import run_by

from arroyo.cli.commands.start import command
from arroyo.supervision.decisions.events import State

run = run_by(command)


def test_a_stage_that_was_stopped_is_started(played):
    played.history.stop_stage("integrate")
    played.history.end("integrate.0")
    assert run("chain", "integrate").startswith("starting integrate.0; see:")
    assert played.history.state("integrate.0") is State.STARTING


def test_a_failed_stage_is_tried_again_now(played):
    played.history.end("integrate.0", 78)
    assert played.history.state("integrate.0") is State.FAILED
    assert run(played.path).startswith("starting integrate.0; see:")
    assert played.history.state("integrate.0") is State.STARTING


def test_what_runs_is_left_as_it_is(played):
    assert run("chain").startswith("nothing of chain is stopped or has FAILED")
