import pytest
from invoked import run_by

from arroyo.cli.commands.restart import command
from arroyo.supervision.decisions.events import State

run = run_by(command)


@pytest.mark.parametrize(
    ("target", "named"),
    [(["integrate"], "integrate.0"), ([], "patterns.0, integrate.0, images.0")],
)
def test_it_waits_until_all_are_back_and_names_them(played, target, named):
    played.on_turn = played.bring_up
    assert run("chain", *target) == f"restarting {named}\nrestarted {named}\n"
    assert played.history.state("integrate.0") is State.READY


def test_a_process_that_fails_is_told_with_the_reason_and_the_rest_is_left(played):
    def fail():
        if played.history.state("patterns.0") is State.STARTING:
            played.history.end("patterns.0", 78)

    played.on_turn = fail
    told = run("chain", code=1)
    assert "not restarted: integrate.0, images.0\n" in told
    assert "error: patterns.0 exited with 78" in told
    assert "see: arroyo logs chain patterns.0" in told


def test_one_that_dies_on_the_way_is_waited_for(played):
    died = []

    def come_up():
        if played.history.state("integrate.0") is State.STARTING and len(died) < 2:
            died.append(played.history.end("integrate.0", -9))
        else:
            played.history.pass_time(0.02)
            played.bring_up()

    played.on_turn = come_up
    assert run("chain", "integrate").endswith("restarted integrate.0\n")


def test_ctrl_c_ends_the_command_and_the_order_stands(played, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("arroyo.supervision.live.running_chain.time.sleep", interrupt)
    assert "the order stands; see: arroyo events chain -f" in run("chain", "integrate", code=130)


def test_what_has_finished_or_is_stopped_is_not_restarted(played):
    played.history.stop_stage("integrate")
    assert "integrate has finished or is stopped" in run("chain", "integrate", code=64)


def test_an_unknown_stage_is_answered_with_those_there_are(played):
    assert "did you mean 'images'?" in run("chain", "image", code=64)
