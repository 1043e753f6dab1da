"""Looking inside: what a process did last, on request and after a failure."""

import json
import re
import stat

import pytest
from chains import listener, operator, publisher, wait_until

from arroyo.identifiers import ReplicaName

FAILING_SUPERVISOR = """
from arroyo.config.reader import load_chain
from arroyo.supervision.startup import supervise

supervise(load_chain("chain.toml"), target="no function", check=lambda *_: [])
"""
THREE = (
    listener("count", events=3000, pause_at=1500),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"]),
)


def test_each_stage_shows_its_stacks_and_what_it_did_last(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_for_lines(1501)
    source = chain.command("status", chain.path, "--history", "count")
    assert re.search(r"^count\.0 \(pid \d+\) at .*: its last \d+ transitions", source, re.M)
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{6}  opened run .*, implicit: False$", source, re.M)
    assert re.search(r"took EVENTS: \d+ messages from sequence \d+", source)
    assert re.search(r"sent batch \d+ to work\.[01]: \d+ messages", source)
    assert "source_process.py" in source  # a stack
    replicas = chain.command("status", "numbers", "--history", "work")
    for name in ("work.0", "work.1"):
        assert f"\n{name} (pid " in replicas
        assert "took batch 0 of count.0: 1 messages" in replicas.partition(f"\n{name} (pid ")[2]
    sink = chain.command("status", chain.path, "--history", "write.0")
    assert re.search(r"finished batch \d+ of work\.[01]", sink)
    log = chain.run_directory.log(ReplicaName("write", 0))
    assert log.with_suffix(".stacks").stat().st_size == 0
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()


def test_the_supervisor_shows_what_it_heard_and_did(make_chain):
    chain = make_chain(*THREE)
    chain.supervise()
    chain.wait_until_ready()
    text = chain.command("status", chain.path, "--history", "supervisor")
    assert re.match(r"supervisor \(pid \d+\) at .*: its last \d+ transitions", text)
    assert re.search(r"^\S+  work\.1 ProcessStarted pid=\d+$", text, re.M)
    assert re.search(r"^\S+    work\.1 BecameReady took_s=\d+\.\d+$", text, re.M)


def test_a_test_that_fails_shows_the_history_of_all(make_chain):
    chain = make_chain(*THREE)
    chain.supervise()
    chain.wait_until_ready()
    text = chain.history()
    for name in ("supervisor", "count.0", "work.0", "work.1", "write.0"):
        assert f"\n{name} (pid " in f"\n{text}"


@pytest.mark.logs_errors("no 3, please")
def test_a_stage_that_fails_leaves_its_history_and_its_log_names_it(make_chain):
    chain = make_chain(
        listener("count", events=20),
        operator("work", "Fussy", ["count"], keys='on_error = "crash"\nrestart = "never"'),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    supervisor.wait_for("FAILED")
    log = chain.run_directory.log(ReplicaName("work", 0))
    left = log.with_name("work.0.history.txt")
    wait_until(lambda: f"what it did last is in {left}" in messages(log), lambda: messages(log))
    text = left.read_text()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert re.match(r"work\.0 \(pid \d+\) at .*: its last \d+ transitions, times in UTC\n", text)
    assert "took batch 0 of count.0: 1 messages" in text
    shown = chain.command("status", chain.path, "--history", "work")
    assert shown.startswith("work.0 is not running; a process of it that failed left this in ")
    assert shown.endswith(f"{text}\n")
    supervisor.stop_now()  # killed, it would leave a source that waits for the operator


def test_a_stage_that_ends_in_order_leaves_none(make_chain):
    chain = make_chain(listener("count", events=20), publisher("write", ["count"]))
    assert chain.supervise().wait() == 0, chain.text()
    assert list(chain.run_directory.path.glob("log/*history*")) == []


@pytest.mark.logs_errors("the supervisor has failed")
def test_a_supervisor_that_fails_leaves_its_history_and_its_log_names_it(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.python(FAILING_SUPERVISOR)
    assert supervisor.wait() == 1
    assert "AttributeError: 'str' object has no attribute" in supervisor.text
    log = chain.run_directory.log("supervisor")
    left = log.with_name("supervisor.history.txt")
    assert f"the supervisor has failed; what it did last is in {left}" in messages(log)
    assert re.search(r"^\S+    write\.0 Spawn$", left.read_text(), re.M)


def messages(log):
    return [json.loads(line)["message"] for line in log.read_text().splitlines()]
