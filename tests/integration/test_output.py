"""What stages print and warn of: it never holds them up, and is in the log and on the terminal."""

import json
import os
import signal
import subprocess

import pytest
from chains import PROGRAMS, listener, operator, publisher, unread, wait_until

from arroyo.identifiers import ReplicaName

EVENTS = 300
STAGES = '''
import ctypes
import json
import logging
import subprocess
import sys
import warnings

from arroyo import Event, Operator

log = logging.getLogger(__name__)


class Chatty(Operator):
    """Prints a long line for each message, in all ways."""

    def process(self, message):
        if isinstance(message, Event):
            print("print", "x" * 1000)
            print("stderr", "x" * 1000, file=sys.stderr)
            line = b"C " + 1000 * b"x" + b"\\n"
            ctypes.PyDLL(None).write(1, line, len(line))  # holds the interpreter's lock
        return message


class Warns(Operator):
    """Says something of every kind at its first event."""

    def open(self):
        self.said = False

    def process(self, message):
        if isinstance(message, Event) and not self.said:
            self.said = True
            log.warning("the beam is weak")
            warnings.warn("old calibration")
            print("a plain line")
            subprocess.run(["echo", "from a child"])
            chatter = compile("log.info('chatter of a library')", json.__file__, "exec")
            exec(chatter, {"log": logging.getLogger("library")})
        return message


class Flood(Operator):
    """Prints more than a log takes, all at once."""

    def process(self, message):
        if isinstance(message, Event):
            for number in range(100_000):
                print("flood", number, "x" * 100)
        return message


class Last(Operator):
    """Says why, and crashes at once."""

    def process(self, message):
        if isinstance(message, Event):
            print("my last words")
            ctypes.string_at(0)
        return message
'''


def chain_of(make_chain, kind, events=EVENTS, keys=""):
    chain = make_chain(
        listener("count", events=events),
        operator("work", f"talking:{kind}", ["count"], keys='process_timeout_s = "3 s"'),
        publisher("write", ["work"]),
        keys=keys,
    )
    (chain.folder / "talking.py").write_text(STAGES)
    return chain


def log_lines(chain, name):
    path = chain.run_directory.log(ReplicaName(name, 0))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_stage_that_prints_to_an_unread_pipe_is_not_held_up(make_chain):
    chain = chain_of(make_chain, "Chatty")
    with unread(chain, "arroyo-supervise", chain.path) as supervisor:
        wait_until(lambda: supervisor.poll() is not None, chain.text)
        assert supervisor.returncode == 0
    assert chain.count() == EVENTS + 2
    messages = [line["message"] for line in log_lines(chain, "work")]
    for kind in ("print", "stderr", "C"):
        assert sum(message.startswith(f"{kind} x") for message in messages) == EVENTS


def test_a_stage_by_hand_is_not_held_up_either(make_chain):
    chain = chain_of(make_chain, "Chatty")
    others = [chain.stage("count"), chain.stage("write")]
    with unread(chain, "arroyo-stage", chain.path, "work") as stage:
        wait_until(lambda: stage.poll() is not None, chain.text)
        assert stage.returncode == 0
    assert [program.wait() for program in others] == [0, 0]
    assert chain.count() == EVENTS + 2


def commands(chain):
    """Each way of running a chain, by the arguments of its last program."""
    return {
        "supervised": ["arroyo-supervise", chain.path],
        "in one process": ["arroyo-supervise", "--in-process", chain.path],
        "by hand": ["arroyo-stage", chain.path, "work"],
    }


@pytest.mark.parametrize("way", ["supervised", "in one process", "by hand"])
def test_warnings_and_prints_reach_a_file(make_chain, way):
    chain = chain_of(make_chain, "Warns")
    if way == "by hand":
        chain.stage("count")
        chain.stage("write")
    file = chain.folder / "chain.log"
    with file.open("wb") as output:
        program, *arguments = commands(chain)[way]
        ended = subprocess.run(
            [PROGRAMS / program, *map(str, arguments)],
            cwd=chain.folder,
            env=chain.environ,
            stdout=output,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    text = file.read_text()
    assert ended.returncode == 0, text
    for words in (
        "the beam is weak",
        "UserWarning: old calibration",
        "a plain line",
        "from a child",
    ):
        assert text.count(words) == 1, text
    assert "chatter" not in text


def test_of_more_than_the_log_can_take_the_last_lines_are_kept(make_chain):
    chain = chain_of(make_chain, "Flood", events=1)
    supervisor = chain.supervise()
    assert supervisor.wait() == 0
    last = f"flood 99999 {'x' * 100}"
    assert last in [line["message"] for line in log_lines(chain, "work")]


def test_the_last_words_of_a_crash_are_shown(make_chain):
    chain = chain_of(make_chain, "Last", keys="[supervisor]\nmax_restarts = 0\n")
    supervisor = chain.supervise()
    supervisor.wait_for("work.0: my last words")
    supervisor.wait_for("FAILED")
    supervisor.send(signal.SIGTERM)
    supervisor.wait_for("stopping")
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 1
    supervised = chain.run_directory.log("supervisor").read_text()
    assert "my last words" in supervised
    printed = chain.run_directory.log(ReplicaName("work", 0)).with_suffix(".out")
    assert os.stat(printed).st_mode & 0o77 == 0
