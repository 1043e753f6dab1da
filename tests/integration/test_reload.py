"""`arroyo reload` of chains that work."""

import json
import subprocess

import pytest
from chains import PROGRAMS, indices, listener, operator, publisher, totals, wait_until

OWN = """
import arroyo

class Scale(arroyo.Operator):
    def __init__(self, factor=1):
        self.factor = factor

    def open(self):
        if self.factor < 0:
            raise ValueError("factor is negative")

    def process(self, message):
        if isinstance(message, arroyo.Event):
            message.metadata["factor"] = self.factor
        return message
"""


@pytest.fixture
def chain(make_chain):
    """A chain at work; `handed` has how many messages there were."""
    made = make_chain(
        listener("count", every_s=0.001, handed="handed"),
        operator("work", "own:Scale", ["count"], keys="replicas = 2", factor=1),
        publisher("write", ["work"]),
    )
    (made.folder / "own.py").write_text(OWN)
    made.supervisor = made.supervise()
    made.wait_for_lines(50)
    made.wait_until_ready()
    return made


def reload(chain, *options, code=0):
    """Run `arroyo reload`; return what it said."""
    ended = subprocess.run(
        [PROGRAMS / "arroyo", "reload", "numbers", *options],
        cwd=chain.folder,
        env=chain.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr + chain.text()
    return ended.stdout + ended.stderr


def factors(chain):
    return [line["metadata"]["factor"] for line in chain.lines() if line["type"] == "Event"]


def stop_and_count(chain):
    """Stop the chain; each message has to be there, and once."""
    chain.command("stop", "numbers")
    assert chain.supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    handed = int((chain.folder / "handed").read_text())
    assert sorted(indices(lines)) == list(range(handed))
    assert totals(lines)["lost"] == 0


def test_an_option_is_changed_under_load_and_nothing_is_lost_or_doubled(chain):
    before = chain.pids()
    chain.edit("factor = 1", "factor = 2")
    chain.edit("[stages.work]", "[stages.work]\nprocess_timeout_s = 20")
    planned = reload(chain, "--dry-run")
    assert planned.splitlines() == [
        "at once: stages.work.process_timeout_s",
        "by a restart: stages.work.options.factor",
        "to be restarted, one process after the other: work",
    ]
    assert chain.pids() == before
    assert reload(chain) == f"{planned}reloaded\n"
    after = chain.pids()
    assert {name for name in before if before[name] != after[name]} == {"work.0", "work.1"}
    assert reload(chain) == "nothing has changed\n"
    wait_until(lambda: factors(chain)[-1] == 2, chain.text)
    stop_and_count(chain)


def test_a_mistake_changes_nothing_and_no_process_reads_it(chain):
    chain.edit("factor = 1", "factr = 1")
    chain.edit("every_s", "evry_s")
    told = reload(chain, code=78)
    assert "factr" in told and "evry_s" in told
    chain.kill("work.0")
    wait_until(lambda: chain.status()["work.0"]["restarts"] == 1, chain.text)
    chain.wait_until_ready()
    stop_and_count(chain)


@pytest.mark.logs_errors("factor is negative")
def test_what_can_not_start_with_the_new_values_runs_with_the_old_ones_again(chain):
    chain.edit("factor = 1", "factor = -1")
    told = json.loads(reload(chain, "--json", code=1))
    assert told["state"] == "rolled-back"
    assert "work.1" in told["reason"] and "factor is negative" in told["reason"]
    chain.wait_until_ready()
    assert "rolled-back" in chain.command("events", "numbers")
    assert "factor is negative; the old values run again" in reload(chain, code=1)
    stop_and_count(chain)
    assert set(factors(chain)) == {1}


def test_a_process_that_is_killed_in_the_middle_of_a_reload_has_the_new_values_as_all_have(chain):
    chain.edit("factor = 1", "factor = 2")
    running = chain.start("arroyo", "reload", "numbers")
    chain.supervisor.wait_for("reloading the chain file, on a reload command")
    chain.kill("work.0")
    assert running.wait() == 0, running.text
    written = chain.count()
    chain.wait_until_ready()
    chain.wait_for_lines(written + 200)
    assert set(factors(chain)[-50:]) == {2}
    stop_and_count(chain)


def test_what_all_stages_go_by_is_not_changed_in_a_running_chain(chain):
    chain.edit("replicas = 2", "replicas = 3")
    told = reload(chain, code=64)
    assert "not in a running chain: stages.work.replicas" in told
    assert "can't be changed while the chain runs; stop it with 'arroyo stop'" in told
    chain.edit("replicas = 3", "replicas = 2")
    stop_and_count(chain)
