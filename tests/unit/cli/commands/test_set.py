import json

from invoked import run_by

from arroyo.cli.commands.set import command

run = run_by(command)


def test_what_is_set_is_shown_with_the_value_of_the_chain_file(played):
    assert run("chain", "integrate") == 'level = 5\nmode = "fast"\n'
    assert run("chain", "integrate", "level=7", "mode=slow") == (
        'integrate: level = 7, mode = "slow"\n'
    )
    first, second = run("chain", "integrate").splitlines()
    assert first.startswith("level = 7  (in the chain file: 5; set by pid ")
    assert second.startswith('mode = "slow"  (in the chain file: "fast"; set by pid ')
    assert json.loads(run("chain", "integrate", "--json")) == {"level": 7, "mode": "slow"}


def test_negative_numbers_are_no_options(played):
    assert json.loads(run(played.path, "integrate", "level=-0.5", "--json")) == {"level": -0.5}


def test_what_is_no_assignment_or_no_parameter_is_refused(played):
    assert "found 'level', expected name=value" in run("chain", "integrate", "level", code=64)
    assert "did you mean 'level'?" in run("chain", "integrate", "leval=1", code=64)
    assert "stage images has no parameters" in run("chain", "images", "level=1", code=64)


def test_more_than_fits_into_a_request_is_refused_before_it_is_sent(played):
    assert "expected 4,096" in run("chain", "integrate", f"mode={'x' * 5000}", code=64)


def test_ctrl_c_ends_the_command_and_the_order_stands(played, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("arroyo.supervision.live.running_chain.time.sleep", interrupt)
    monkeypatch.setattr(
        "arroyo.supervision.live.running_chain.RunningChain.ask",
        lambda *_, **__: {"number": 1, "outcomes": {}},
    )
    said = run("chain", "integrate", "level=7", code=130)
    assert "the order stands; see: arroyo events chain -f" in said


def test_who_waits_for_long_is_told_for_what_and_a_refusal_is_an_error(played, monkeypatch):
    monkeypatch.setattr("arroyo.supervision.live.running_chain.PATIENCE_S", 0.0)
    answers = [
        {"number": 1},
        {"outcomes": {}, "waits_for": ["integrate.0"]},
        {"outcomes": {"1": ["integrate.0 refuses: no", False]}, "waits_for": []},
    ]
    monkeypatch.setattr(
        "arroyo.supervision.live.running_chain.RunningChain.ask", lambda *_, **__: answers.pop(0)
    )
    said = run("chain", "integrate", "level=7", code=64)
    assert "waiting for integrate.0, between two messages" in said
    assert "integrate.0 refuses: no" in said
