"""Stages that leave in ways of their own, written as users write them."""

import os
import re
import signal

import psutil
import pytest
from chains import PROGRAMS, indices, listener, operator, publisher, wait_until

LEAVES = """
import os
from arroyo import Event, Operator

class Leaves(Operator):
    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == 13:
            os._exit(0)  # as exit(0) in C does, and STOP in Fortran
        return message
"""

BROKER = """
import os
from pathlib import Path
from own_stages import Write

class ToBroker(Write):
    def open(self):
        if not Path("broker").exists():
            raise ConnectionRefusedError("no broker at mq:5672")
        super().open()
"""
WRONG = "class Own(Operator:\n"
RIGHT = """
from arroyo import Operator

class Own(Operator):
    def process(self, message):
        return message
"""

LEAVES_ORPHANS = """
import subprocess
from arroyo import Operator

class Calls(Operator):
    def process(self, message):
        subprocess.run(["sh", "-c", "sleep 0 &"], check=True)
        return message
"""
AS_SUBREAPER = """
import ctypes, os, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""

HOLDS_ONE = """
from arroyo import Event, Operator
from own_stages import wait_for

class HoldsOne(Operator):
    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == 5:
            wait_for("gate")
        return message
"""

RAISES = """
from arroyo import Event, Operator

class Raises(Operator):
    def process(self, message):
        if isinstance(message, Event):
            raise ValueError("no peak found")
        return message
"""


def chain_with(make_chain, code, *tables, keys=""):
    """A chain with a module `own`, which a user wrote beside the chain file."""
    chain = make_chain(*tables, keys=keys)
    (chain.folder / "own.py").write_text(code)
    return chain


def test_an_exit_with_0_in_process_while_the_source_drains_is_no_end_of_the_work(make_chain):
    chain = chain_with(
        make_chain,
        LEAVES,
        listener("count", events=100),
        operator("work", "own:Leaves", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    code = supervisor.wait()
    assert set(indices(chain.lines())) == set(range(100)) - {13}, chain.text()
    assert code == 65, chain.text()
    assert "exit(0)" in supervisor.text
    # It says what was done before the process died, and of the one in quarantine once.
    assert "  count: 100 received, 100 sent, 1 quarantined" in supervisor.lines
    # What the first life had sent on before its counts were on its page may be missing.
    counted = re.search(r"^  work: (\d+) received", supervisor.text, re.MULTILINE)
    assert counted, chain.text()
    assert int(counted[1]) >= 100 - 14


@pytest.mark.logs_errors("no broker at mq:5672")
def test_a_broker_that_is_away_is_waited_for_and_a_stop_drains_what_waits_for_it(make_chain):
    chain = chain_with(
        make_chain,
        BROKER,
        listener("count", handed="handed"),
        publisher("write", ["count"], "own:ToBroker", keys='backoff_s = "60 s"'),
        keys="[supervisor]\nmax_restarts = 1",
    )
    (chain.folder / "broker").touch()
    supervisor = chain.supervise()
    chain.wait_for_lines(1)
    (chain.folder / "broker").unlink()
    chain.kill("write.0")
    wait_until(lambda: (chain.status()["write.0"]["next_try_s"] or 0) > 10, chain.text)
    row = chain.status()["write.0"]
    assert row["state"] == "BACKOFF"
    assert "no broker at mq:5672" in row["reason"]
    assert "no broker at mq:5672" in chain.command("status", chain.path)
    assert "write.0 waits: " in supervisor.text
    (chain.folder / "broker").touch()
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    handed = int((chain.folder / "handed").read_text())
    assert set(indices(chain.lines())) == set(range(handed))


@pytest.mark.logs_errors("importing own failed")
def test_a_module_that_is_corrected_brings_its_stage_back(make_chain):
    chain = chain_with(
        make_chain,
        RIGHT,
        listener("count", events=100, pause_at=50),
        operator("work", "own:Own", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(1)
    (chain.folder / "own.py").write_text(WRONG)
    chain.kill("work.0")
    supervisor.wait_for("started again once one of its files has changed")
    (chain.folder / "own.py").write_text(RIGHT)
    supervisor.wait_for("work.0: own.py has changed")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert set(indices(chain.lines())) == set(range(100))


def test_a_supervisor_that_orphans_come_to_leaves_no_zombies(make_chain):
    chain = chain_with(
        make_chain,
        LEAVES_ORPHANS,
        listener("count", events=60, pause_at=50),
        operator("work", "own:Calls", ["count"]),
        publisher("write", ["work"]),
    )
    command = PROGRAMS / "arroyo-supervise", chain.path
    supervisor = chain.start("python", "-c", AS_SUBREAPER, *command)  # as pid 1 of a container
    chain.wait_for_lines(50)
    chain.kill("work.0")
    supervisor.wait_for("work.0 was killed (SIGKILL)")
    chain.wait_until_ready()
    stages = set(chain.pids().values())
    process = psutil.Process(supervisor.pid)

    def others():
        """Children beside the stages and the one process that they are forked from."""
        children = [child for child in process.children() if child.pid not in stages]
        return [child for child in children if "fork-server" not in child.cmdline()]

    wait_until(lambda: not others(), lambda: f"beside {stages}: {others()}")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_a_stage_outlives_signals_without_a_meaning(make_chain):
    chain = make_chain(
        listener("count", events=100, pause_at=50),
        operator("work", "Pass", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(50)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        os.kill(chain.pids()["work.0"], number)
    log = chain.run_directory.path / "log" / "work.0.jsonl"
    wait_until(lambda: "SIGALRM is ignored" in log.read_text(), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert "was killed" not in supervisor.text


def test_a_chain_whose_messages_all_went_to_quarantine_ends_with_65_and_says_so(make_chain):
    chain = chain_with(
        make_chain,
        RAISES,
        listener("count", events=7),
        operator("work", "own:Raises", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    assert supervisor.wait() == 65, chain.text()
    assert "  work: 7 received, 0 sent, 7 quarantined" in supervisor.text
    last = supervisor.lines[-1]
    assert last.endswith("7 messages are in quarantine; see: arroyo quarantine list numbers")
    assert "ended well" not in last
    row = chain.command("quarantine", "list", "numbers")
    assert row.count("no peak found") == 7


def test_what_a_stop_left_undone_is_said_and_costs_the_next_run_nothing(make_chain):
    chain = make_chain(
        listener("count", events=300),
        publisher("write", ["count"], every_s=0.01),
    )
    first = chain.supervise()
    chain.wait_for_lines(5)
    first.send(signal.SIGINT)
    first.wait_for("stopping because of SIGINT")
    first.send(signal.SIGINT)
    assert first.wait() == 1, chain.text()
    left = 300 - len(indices(chain.lines()))
    (said,) = re.findall(r"up to ([0-9]+) messages of count not delivered", first.lines[-1])
    assert left <= int(said) <= 300  # more: written, and not acknowledged yet
    assert f"{said} not delivered" in first.text
    # The runs to come need not be slow.
    chain.edit("every_s = 0.01", "every_s = 0.0")
    second = chain.supervise()
    assert second.wait() == 0, chain.text()
    assert f"an earlier run of this chain lost up to {said} messages" in second.text
    third = chain.supervise()
    assert third.wait() == 0, chain.text()
    assert "earlier run" not in third.text


def test_what_had_arrived_behind_a_message_that_had_not_is_not_called_lost_by_the_next_life(
    make_chain,
):
    chain = chain_with(
        make_chain,
        HOLDS_ONE,
        listener("count", events=300, every_s=0.001),
        operator("gate", "own:HoldsOne", ["count"], keys="replicas = 2"),
        publisher("write", ["gate"]),
    )
    first = chain.supervise()
    chain.wait_for_lines(200)
    first.send(signal.SIGINT)
    first.wait_for("stopping because of SIGINT")
    first.send(signal.SIGINT)
    assert first.wait() == 1, chain.text()
    written = len(indices(chain.lines()))
    (said,) = re.findall(r"up to ([0-9]+) messages? of count not delivered", first.lines[-1])
    chain.open_gate()
    second = chain.supervise()
    assert second.wait() == 0, chain.text()
    assert f"an earlier run of this chain lost up to {said} message" in second.text
    (closed,) = [
        line["data"]["totals"]
        for line in chain.lines()
        if "died" in str(line.get("data", {}).get("reason"))
    ]
    assert closed["lost"] == int(said) < 300 - 100
    assert written + closed["lost"] >= closed["sent"]


def test_messages_that_come_again_after_a_death_are_told_apart(make_chain):
    chain = make_chain(
        listener("count", events=200),
        operator("work", "Pass", ["count"], every_s=0.005),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(20)
    chain.kill("work.0")
    assert supervisor.wait() == 0, chain.text()
    received, again = map(
        int, re.findall(r"work: (\d+) received \((\d+) sent again", supervisor.text)[0]
    )
    assert again > 0
    assert received >= 200
    assert "count: 200 received, 200 sent" in supervisor.text


def test_status_shows_how_messages_have_ended_and_where_they_came_from(make_chain):
    chain = chain_with(
        make_chain,
        RAISES,
        listener("count", events=20, pause_at=5),
        listener("more", events=20, pause_at=5, kind="event"),
        operator("work", "own:Raises", ["count", "more"], keys='on_error = "skip"'),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    wait_until(lambda: chain.status()["work.0"]["skipped"] == 10, chain.text)
    assert chain.status()["work.0"]["inputs"] == {"count": 5, "more": 5}
    assert "skipped" in chain.command("status", chain.path).splitlines()[1]
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_what_a_stop_left_undone_in_one_process_is_said_as_well(make_chain):
    chain = make_chain(
        listener("count", events=300),
        publisher("write", ["count"], every_s=0.01),
    )
    program = chain.supervise("--in-process")
    chain.wait_for_lines(5)
    program.send(signal.SIGINT)
    program.send(signal.SIGTERM)
    assert program.wait() == 130, program.text
    (said,) = re.findall(r"count.0: (\d+) handed over and not delivered", program.text)
    assert int(said) in (300 - len(indices(chain.lines())) + more for more in (0, 1))


@pytest.mark.logs_errors("importing own failed")
def test_a_restart_tells_that_a_module_was_spoilt_and_leaves_the_other_process(make_chain):
    chain = chain_with(
        make_chain,
        RIGHT,
        listener("count", pause_at=5, events=10),
        operator("work", "own:Own", ["count"], keys="replicas = 2"),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_until_ready()
    before = chain.pids()
    (chain.folder / "own.py").write_text(WRONG)
    command = chain.start("arroyo", "restart", chain.path, "work")
    assert command.wait() == 1
    assert "not restarted: work.0" in command.text
    assert "error: work.1 exited with 78" in command.text
    assert chain.pids()["work.0"] == before["work.0"]
    (chain.folder / "own.py").write_text(RIGHT)
    assert "restarted work.1, work.0" in chain.command("restart", chain.path, "work")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
