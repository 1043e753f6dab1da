from invoked import run_by

from arroyo.cli.commands.restart import command

run = run_by(command)


def test_what_is_restarted_is_named(played):
    assert run("chain", "integrate").startswith("restarting integrate.0; see:")
    assert run("chain").startswith("restarting patterns.0, integrate.0, images.0; see:")


def test_what_has_finished_or_is_stopped_is_not_restarted(played):
    played.history.stop_stage("integrate")
    assert "integrate has finished or is stopped" in run("chain", "integrate", code=64)


def test_an_unknown_stage_is_answered_with_those_there_are(played):
    assert "did you mean 'images'?" in run("chain", "image", code=64)
