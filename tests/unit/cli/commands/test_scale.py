from invoked import run_by

from arroyo.cli.commands.scale import command
from arroyo.supervision.decisions.events import State

run = run_by(command)


def test_the_processes_that_work_are_named(played):
    played.history.stop_stage("integrate")
    played.end("integrate.0")
    assert run("chain", "integrate", 1) == "integrate: integrate.0\n"
    assert played.history.state("integrate.0") is State.STARTING


def test_more_than_there_are_links_for_is_refused(played):
    assert run(played.path, "integrate", 2, code=64) == (
        "error: integrate has 1 replica in the chain file, so no other number can run; "
        "for more, change that and start the chain anew\n"
    )


def test_none_at_all_is_a_stop(played):
    assert "0 is not in the range" in run("chain", "integrate", 0, code=64)
