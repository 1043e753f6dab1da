"""Stages that hang, crash, run out of memory or are stopped: told apart, and treated as it fits."""

import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from chains import indices, is_gone, kill, listener, operator, publisher, wait_until

from arroyo.control.suspect_notes import take_suspect
from arroyo.identifiers import ReplicaName

STAGES = '''
import ctypes
import os
import time
from pathlib import Path

from arroyo import Event, Operator, Publisher
from own_stages import wait_for

MARK = Path("done")


class Fate(Operator):
    """Meets its fate at message `at`, in its first life only."""

    def __init__(self, how, at=10):
        self.how, self.at = how, at

    def open(self):
        if group := os.environ.get("GROUP"):
            Path(group, "cgroup.procs").write_text(str(os.getpid()))

    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == self.at:
            if not MARK.exists():
                MARK.touch()
                getattr(self, self.how)()
        return message

    def loop(self):
        while True:
            pass  # it hangs here

    def lock_with_the_gil(self):
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)  # it hangs here

    def segfault(self):
        ctypes.string_at(0)  # it crashes here

    def abort(self):
        os.abort()  # it crashes here

    def hoard(self):
        everything = b"x" * (400 << 20)
        time.sleep(3600)  # it keeps that

    def eat(self):
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))


class Glutton(Fate):
    """Meets its fate at message `at` in each of its lives."""

    def process(self, message):
        MARK.unlink(missing_ok=True)
        return super().process(message)


class Wait(Publisher):
    """Waits for a file at its first message, and says so."""

    def publish(self, message):
        wait_for("gate", meanwhile=self.report_waiting)


class Slow(Operator):
    """Works long on each message, and longer on a batch of them than is allowed for one."""

    def process(self, message):
        if isinstance(message, Event):
            time.sleep(0.02)  # this is its work
        return message
'''
EVENTS = 200
FATE = ReplicaName("work", 0)


@pytest.fixture
def run(make_chain):
    """Start a chain whose middle stage meets its fate; wait until all of it is READY."""

    def start(how, *, keys='process_timeout_s = "1 s"', events=EVENTS, kind="Fate"):
        chain = make_chain(
            listener("count", events=events),
            operator("work", f"fates:{kind}", ["count"], how=how, keys=keys),
            publisher("write", ["work"]),
        )
        (chain.folder / "fates.py").write_text(STAGES)
        return chain, chain.supervise()

    return start


def line_with(supervisor, words):
    supervisor.wait_for(words)
    return next(line for line in supervisor.lines if words in line)


@pytest.mark.parametrize("how", ["loop", "lock_with_the_gil"])
def test_a_hang_is_found_and_its_stack_names_the_line(run, how):
    chain, supervisor = run(how)
    line = line_with(supervisor, "hung in process()")
    assert re.match(r"work\.0 hung in process\(\) for 1 s on count\.0 message 10; its stack", line)
    assert "starting it again now" in line
    stack = Path(line.partition("its stack is in ")[2].partition(";")[0]).read_text()
    number = next(
        1 + index
        for index, text in enumerate(STAGES.splitlines())
        if "it hangs here" in text and (how == "loop") == ("pass" in text)
    )
    assert re.search(rf'fates\.py", line ({number}|{number - 1}) in {how}', stack)
    # What it did last is written in Python, which the other one keeps from running.
    assert ("took batch" in stack) == (how == "loop")
    assert supervisor.wait() == 0, chain.text()
    assert {each["metadata"]["index"] for each in chain.lines() if each["type"] == "Event"} == set(
        range(EVENTS)
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "died of a segmentation fault (SIGSEGV) on count.0 message 10"),
        ("abort", "died of an abort (SIGABRT) on count.0 message 10"),
    ],
)
def test_a_crash_names_the_message_and_leaves_its_stack(run, how, words):
    chain, supervisor = run(how)
    line = line_with(supervisor, words)
    stack = Path(line.partition("its stack is in ")[2].partition(";")[0]).read_text()
    assert f" in {how}" in stack
    assert supervisor.wait() == 0, chain.text()
    events = map(json.loads, chain.command("events", "numbers", "work", "--json").splitlines())
    (restarting,) = (each for each in events if each["event"] == "restarting")
    report = restarting["exit"]
    assert (report["signal"] in words, report["in_hand"]) == (True, "count.0 message 10")
    assert Path(report["stacks"]).read_text() == stack


def test_a_crash_leaves_a_suspect_for_the_next_life(run):
    # It never comes back, so nobody takes the note.
    chain, supervisor = run("segfault", keys='restart = "never"')
    supervisor.wait_for("FAILED")
    suspect = take_suspect(chain.run_directory, FATE)
    assert (suspect.source, suspect.sequence) == ("count.0", 11)  # Start is 0
    assert suspect.reason == "died of a segmentation fault (SIGSEGV)"
    assert "fates.py" in suspect.stack
    end_at_once(chain, supervisor)


def test_a_plain_kill_leaves_no_suspect(run):
    chain, supervisor = run("loop", keys='restart = "never"\nprocess_timeout_s = 0')
    wait_until((chain.folder / "done").exists, chain.text)
    chain.kill("work.0")
    supervisor.wait_for("work.0 was killed (SIGKILL)")
    supervisor.wait_for("FAILED")
    assert take_suspect(chain.run_directory, FATE) is None
    end_at_once(chain, supervisor)


def test_lack_of_memory_is_told_from_a_plain_kill(run):
    group = memory_group()
    try:
        chain, supervisor = run("eat", keys=f'restart = "never"\nenv = {{ GROUP = "{group}" }}')
        supervisor.wait_for("FAILED")
        assert "lack of memory on count.0 message 10" in supervisor.text
        assert "lack of memory" in take_suspect(chain.run_directory, FATE).reason
        end_at_once(chain, supervisor)
    finally:
        group.rmdir()


LIMIT = 'memory_max_bytes = "200 MiB"'
TOO_LARGE = r"\d+ MiB of memory, more than its memory_max_bytes of 200 MiB"


def test_a_stage_above_its_limit_of_memory_is_named_and_replaced_and_nothing_is_lost(run):
    chain, supervisor = run("hoard", keys=LIMIT)
    line = line_with(supervisor, "work.0 was killed for having")
    assert re.search(f"{TOO_LARGE}, on count.0 message 10; its stack is in", line)
    assert "starting it again now" in line
    stack = Path(line.partition("its stack is in ")[2].partition(";")[0]).read_text()
    assert " in hoard" in stack
    assert supervisor.wait() == 0, chain.text()
    events = list(map(json.loads, chain.command("events", "numbers", "--json").splitlines()))
    (killed,) = (each for each in events if each["event"] == "killed")
    assert re.search(f"work.0 killed: it has {TOO_LARGE}", killed["message"])
    (report,) = (each["exit"] for each in events if each["event"] == "restarting")
    assert re.fullmatch(TOO_LARGE, report["cause"])
    assert (report["signal"], report["in_hand"]) == ("SIGKILL", "count.0 message 10")
    assert sorted(set(indices(chain.lines()))) == list(range(EVENTS))


def test_a_message_that_takes_too_much_memory_each_time_goes_to_quarantine(run):
    chain, supervisor = run("hoard", keys=f'{LIMIT}\nbackoff_s = "10 ms"', kind="Glutton")
    assert supervisor.wait() == 65, chain.text()
    assert sorted(set(indices(chain.lines()))) == [each for each in range(EVENTS) if each != 10]
    (entry,) = json.loads(chain.command("quarantine", "list", "numbers", "--json"))
    assert re.search(TOO_LARGE, entry["reason"])


def memory_group():
    """A control group of 64 MiB that a stage may move into."""
    group = Path("/sys/fs/cgroup/memory") / f"arroyo-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"run as root with control groups of version 1 for memory: {error}")
    return group


def test_a_slow_batch_is_no_hang(make_chain):
    chain = make_chain(
        listener("count", events=100),
        operator("work", "fates:Slow", ["count"], keys='process_timeout_s = "500 ms"'),
        publisher("write", ["work"]),
    )
    (chain.folder / "fates.py").write_text(STAGES)
    supervisor = chain.supervise()
    assert supervisor.wait() == 0, chain.text()
    assert "hung" not in supervisor.text


def test_who_says_that_it_waits_is_left_alone(make_chain):
    chain = make_chain(
        listener("count", events=3, handed="handed.txt"),
        publisher("write", ["count"], "fates:Wait", keys='process_timeout_s = "500 ms"'),
    )
    table = chain.path.read_text().replace('options = { path = "out.jsonl" }', "")
    chain.path.write_text(table)
    (chain.folder / "fates.py").write_text(STAGES)
    supervisor = chain.supervise()
    supervisor.wait_for("all ready")
    pid = chain.pids()["write.0"]
    wait_for_seconds(2.0)
    assert chain.pids()["write.0"] == pid
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert "hung" not in supervisor.text


def test_a_publisher_without_a_receiver_is_left_alone(make_chain):
    chain = make_chain(
        listener("count", events=3),
        publisher(
            "push",
            ["count"],
            "arroyo.connectors.zeromq:ZMQPublisher",
            keys='process_timeout_s = "500 ms"',
        ),
    )
    text = chain.path.read_text().replace('path = "out.jsonl"', 'address = "ipc://push"')
    chain.path.write_text(text)
    supervisor = chain.supervise()
    supervisor.wait_for("all ready")
    pid = chain.pids()["push.0"]
    wait_for_seconds(2.0)
    assert not is_gone(pid)
    assert "hung" not in supervisor.text
    end_at_once(chain, supervisor)


def pause(make_chain, timeout):
    """Start a chain that waits for its gate in the midst of a run; wait until all are READY."""
    chain = make_chain(
        listener("count", events=50, pause_at=25),
        operator("work", "Pass", ["count"], keys=f'process_timeout_s = "{timeout}"'),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    supervisor.wait_for("all ready")
    return chain, supervisor


def test_a_stopped_stage_is_named_and_goes_on(make_chain):
    chain, supervisor = pause(make_chain, "500 ms")
    chain.wait_for_lines(20)
    pid = chain.pids()["work.0"]
    os.kill(pid, signal.SIGSTOP)
    supervisor.wait_for("work.0 is stopped by a signal")
    assert chain.states()["work.0"] == "DEGRADED"
    wait_for_seconds(2.0)
    os.kill(pid, signal.SIGCONT)
    supervisor.wait_for("work.0 goes on")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert chain.count() == 52
    assert supervisor.text.count("is stopped") == 1


def test_a_stopped_supervisor_kills_nobody_when_it_goes_on(make_chain):
    chain, supervisor = pause(make_chain, "1 s")
    supervisor.send(signal.SIGSTOP)
    wait_for_seconds(3.0)
    supervisor.send(signal.SIGCONT)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert "killed" not in supervisor.text


def test_why_a_stage_could_not_begin_is_told(make_chain):
    chain = make_chain(listener("count", pause_at=0), publisher("write", ["count"]))
    by_hand = chain.stage("write")
    wait_until(lambda: "write.0" in chain.pids(), chain.text)
    supervisor = chain.supervise()
    supervisor.wait_for(f"write.0 is already running as pid {by_hand.pid}")
    end_at_once(chain, supervisor)


def end_at_once(chain, supervisor):
    """End a chain that would drain for long, since a stage of it is missing."""
    supervisor.kill()
    for pid in chain.pids().values():
        kill(pid)


def wait_for_seconds(seconds):
    """Let the supervisor look for a while: that nothing happens has no other sign."""
    threading.Event().wait(seconds)
