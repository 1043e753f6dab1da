from invoked import run_by

from arroyo.cli.commands.drain import command
from arroyo.supervision.decisions.events import State

run = run_by(command)


def test_the_listeners_stop_and_the_rest_stays_up(played):
    assert run("chain") == "drained; images.0 goes on with: arroyo start chain\n"
    assert played.history.state("images.0") is State.STOPPED
    assert played.history.state("patterns.0") is State.READY


def test_a_stage_in_the_way_is_named(played):
    played.history.stop_stage("integrate")
    answer = run("chain")
    assert answer.startswith("warning: integrate.0 is stopped; what waits for it is not finished")
    assert "arroyo start chain integrate.0" in answer


def test_a_listener_that_died_on_the_way_may_have_lost_something(played):
    played.history.stop_stage("images")
    played.history.end("images.0", -9)
    answer = run("chain", code=1)
    assert answer.startswith("warning: images.0 was killed (SIGKILL)")
    assert "may be lost" in answer


def test_listeners_that_have_finished_have_nothing_to_drain(played):
    played.history.end("images.0")
    assert "have finished" in run("chain", code=64)
