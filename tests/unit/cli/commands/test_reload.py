import json

from invoked import run_by
from msgspec.structs import replace

from arroyo.cli.commands.reload import command
from arroyo.supervision.watching.chain_checks import Checked

run = run_by(command)


def edit(played, **changes):
    """Have the check find a chain file with another table of `integrate`."""
    chain = played.history.chain
    stage = replace(chain.stages["integrate"], **changes)
    played.checks.found = Checked(replace(chain, stages={**chain.stages, "integrate": stage}))


def test_nothing_is_to_be_done_for_the_same_file(played):
    assert run("chain") == "nothing has changed\n"


def test_what_changes_at_once_is_told_first(played):
    edit(played, backoff_s=3.0)
    assert run("chain") == "at once: stages.integrate.backoff_s\nreloaded\n"
    assert played.history.chain.stages["integrate"].backoff_s == 3.0


def test_a_dry_run_changes_nothing(played):
    edit(played, options={"factor": 2})
    told = run("chain", "--dry-run")
    assert "by a restart: stages.integrate.options.factor" in told
    assert "to be restarted, one process after the other: integrate" in told
    assert played.history.signals == []


def test_mistakes_are_told_all_of_them(played):
    played.checks.found = Checked(None, ("chain.toml:3: wrong", "chain.toml:4: wrong too"))
    told = run("chain", code=78)
    assert "error: chain.toml:3: wrong\nerror: chain.toml:4: wrong too\n" in told


def test_what_can_not_be_changed_is_told_with_what_to_do(played):
    edit(played, replicas=3)
    told = run("chain", "--dry-run", code=64)
    assert "not in a running chain: stages.integrate.replicas" in told
    assert "arroyo stop" in told


def test_a_script_gets_one_object(played):
    edit(played, backoff_s=3.0)
    told = json.loads(run("chain", "--json"))
    assert (told["chain"], told["state"]) == ("chain", "reloaded")
    assert told["live"] == ["stages.integrate.backoff_s"]
    edit(played, replicas=3)
    assert json.loads(run("chain", "--json", code=64))["anew"] == ["stages.integrate.replicas"]
