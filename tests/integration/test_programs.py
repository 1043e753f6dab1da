"""Chains with foreign programs: there before the stages, restarted like them, ended after them."""

import signal

import pytest
from chains import is_gone, kill, listener, publisher, wait_until

KEEPS = "echo at work; echo $$ >> lives; trap 'wc -l < out.jsonl > seen; exit 0' TERM; "
KEEPS += "while :; do sleep 0.05; done"
SERVER = f"""
[stages.server]
command = ["sh", "-c", '''{KEEPS}''']
ready = {{ log = "at work" }}
"""
GREEDY = """
import os, signal
print("at work", flush=True)
everything = b"" if os.path.exists("lived") else b"x" * (300 << 20)
open("lived", "a").close()
signal.pause()
"""
"""A program that takes too much memory in its first life."""
NEVER = """
[stages.server]
command = ["sleep", "60"]
ready = { log = "never printed" }
"""


@pytest.fixture
def make(make_chain):
    """A chain of 200 numbers, the last half of which waits for a gate, and a program."""

    def make(server=SERVER):
        numbers = listener("count", events=200, pause_at=100)
        return make_chain(numbers, publisher("write", ["count"]), server)

    return make


def test_a_program_is_there_before_the_stages_and_after_them(make):
    chain = make()
    chain.open_gate()
    supervisor = chain.supervise()
    assert supervisor.wait() == 0, chain.text()
    said = supervisor.text
    assert said.index("server.0 ready") < said.index("count.0 ready")
    assert said.index("write.0 finished") < said.index("server.0 finished")
    assert "server.0: at work" in said
    assert (chain.folder / "seen").read_text().strip() == str(chain.count())


@pytest.mark.logs_errors("was killed by a signal")
def test_one_that_dies_is_restarted_and_the_chain_goes_on(make):
    chain = make()
    supervisor = chain.supervise()
    chain.wait_until_ready()
    row = chain.status()["server.0"]
    assert row["role"] == "program"
    assert row["rss_bytes"] > 0
    kill(row["program_pid"])
    supervisor.wait_for("sh was killed by a signal (Killed); starting it again now")
    supervisor.wait_for("server.0 ready", 2)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_one_with_too_much_memory_is_killed_and_restarted(make):
    table = """
[stages.server]
command = ["python3", "server.py"]
ready = { log = "at work" }
memory_max_bytes = "150 MiB"
"""
    chain = make(table)
    (chain.folder / "server.py").write_text(GREEDY)
    supervisor = chain.supervise()
    supervisor.wait_for("MiB of memory, more than its memory_max_bytes of 150 MiB, after")
    supervisor.wait_for("server.0 ready", 2)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_commands_stop_start_and_show_it(make):
    chain = make()
    supervisor = chain.supervise()
    chain.wait_until_ready()
    assert "server   program   sh" in chain.command("graph", "numbers")
    chain.command("stop", "numbers", "server")
    assert chain.states()["server.0"] == "STOPPED"
    chain.command("start", "numbers", "server")
    chain.wait_until_ready()
    chain.command("restart", "numbers", "server")
    supervisor.wait_for("server.0 ready", 3)
    line = next(each for each in chain.command("status", "numbers").splitlines() if "serv" in each)
    assert line.split().count("-") >= 5, "of messages a program knows nothing"
    chain.command("stop", "numbers")


def test_none_outlives_a_supervisor_that_was_killed(make):
    chain = make()
    supervisor = chain.supervise()
    chain.wait_until_ready()
    pid = chain.status()["server.0"]["program_pid"]
    supervisor.kill()
    wait_until(lambda: is_gone(pid))
    assert (chain.folder / "seen").read_text(), "it was told to end, and had time for that"


def test_a_stop_need_not_wait_for_one_that_does_not_get_ready(make):
    chain = make(NEVER)
    supervisor = chain.supervise()
    wait_until(lambda: chain.states()["server.0"] == "STARTING")
    assert chain.states()["count.0"] == "STOPPED"
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 0
