"""Two chain files with the same name: only one of them has the chain that runs."""

import json

import pytest
from chains import listener, publisher

from arroyo.config.run_directory import ChainNote

TWO = (listener("count", events=100, pause_at=50), publisher("write", ["count"]))
WORDS = ("status", "stop", "logs", "events", "start", "restart", "drain", "reload", "metrics")
MORE = (["set", "count"], ["scale", "write", "1"], ["tap", "write"], ["quarantine", "list"])


@pytest.fixture
def other(make_chain, tmp_path):
    """Have another chain file of this name beside a chain that is to run."""
    chain = make_chain(*TWO)
    path = tmp_path / "other.toml"
    path.write_text(chain.path.read_text())
    return chain, path


def refuse(chain, program, *words):
    """Run a program; return its exit code and what it said."""
    started = chain.start(program, *words)
    return started.wait(), started.text


def test_no_command_takes_another_file_for_that_of_the_chain_that_runs(other):
    chain, path = other
    supervisor = chain.supervise()
    chain.wait_for_lines(50)
    orders = [[word] for word in WORDS]
    for verb, *rest in [*orders, *MORE]:
        first = [verb, rest.pop(0)] if verb == "quarantine" else [verb]
        code, said = refuse(chain, "arroyo", *first, path, *rest)
        assert (code, said.count("error: ")) == (64, 1), said
        assert f'a chain of the same name, "numbers", runs from {chain.path}' in said
    assert refuse(chain, "arroyo-stage", path, "write")[0] == 75
    code, said = refuse(chain, "arroyo-supervise", path)
    assert (code, f"started from {chain.path}" in said) == (75, True)
    assert json.loads(chain.command("status", "numbers", "--json"))["state"] == "READY"
    (chain.folder / "link.toml").symlink_to(chain.path)
    assert "count" in chain.command("status", "link.toml")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_stages_by_hand_are_not_joined_from_another_file(other):
    chain, path = other
    count = chain.stage("count")
    count.wait_for("ready")
    for program, *words in (["arroyo-stage", path, "write"], ["arroyo-supervise", path]):
        code, said = refuse(chain, program, *words)
        assert code == 75, said
        assert f"is already running (count.0, started from {chain.path})" in said
    assert refuse(chain, "arroyo", "status", path)[0] == 64
    write = chain.stage("write")
    chain.open_gate()
    assert (count.wait(), write.wait()) == (0, 0), chain.text()


def test_stages_that_start_together_do_not_take_an_old_note_for_a_chain_that_runs(other):
    chain, path = other
    chain.open_gate()
    chain.run_directory.create()
    chain.run_directory.write_note(ChainNote("numbers", path, chain.folder))
    programs = [chain.stage(name) for name in ("count", "write")]
    assert [program.wait() for program in programs] == [0, 0], chain.text()
    assert chain.run_directory.chain_file("numbers") == chain.path
