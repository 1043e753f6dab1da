"""A chain in one process that is stopped from outside."""

import json
import re
import signal

import pytest
from chains import indices, listener, operator, publisher, totals, wait_until

WORK, WRITE = operator("work", "Pass", ["count"]), publisher("write", ["work"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_stop_signal_ends_the_listener_and_finishes_what_it_has_handed_over(make_chain, number):
    chain = make_chain(listener("count", keys="window = 1000", handed="handed"), WORK, WRITE)
    program = chain.supervise("--in-process")
    chain.wait_for_lines(3000)
    program.send(number)
    assert program.wait() == 0, program.text
    handed = int((chain.folder / "handed").read_text())
    assert indices(chain.lines()) == list(range(handed))
    assert totals(chain.lines())["sent"] == handed


def test_a_second_one_stops_it_now(make_chain):
    hang = operator("work", "Hang", ["count"], at=2)
    chain = make_chain(listener("count"), hang, WRITE)
    program = chain.supervise("--in-process")
    wait_until((chain.folder / "hanging").exists, chain.text)
    program.send(signal.SIGINT)
    program.send(signal.SIGTERM)
    assert program.wait() == 130
    assert "Traceback" not in program.text


STAGES = '''
import sys
from pathlib import Path

from arroyo import Event, Operator, Publisher, UnavailableError


class Touchy(Operator):
    """Changes each message, and then does to some what its name says."""

    def __init__(self, how, at):
        self.how, self.at = how, at

    def process(self, message):
        if isinstance(message, Event):
            bad = message.metadata["index"] in self.at
            message.metadata["worked"] = True
            if bad:
                getattr(self, self.how)()
        return message

    def fail(self):
        raise ValueError("no sense")

    def exit(self):
        sys.exit(1)

    def say(self):
        print("this one is bad")

    def want(self):
        Path("waiting").touch()
        if not Path("there").exists():
            raise UnavailableError("the server is away")


class NeverFlushes(Publisher):
    def publish(self, message):
        pass

    def flush(self):
        raise ValueError("no disk")
'''
EVENTS = 100


def make(make_chain, how, at, write=WRITE):
    counted = listener("count", events=EVENTS)
    work = operator("work", "touchy:Touchy", ["count"], how=how, at=at)
    chain = make_chain(counted, work, write)
    (chain.folder / "touchy.py").write_text(STAGES)
    return chain


@pytest.mark.parametrize("how", ["fail", "exit"])
def test_what_raises_is_quarantined_as_it_came_and_accounted_for(make_chain, how):
    chain = make(make_chain, how, [7, 8])
    program = chain.supervise("--in-process")
    assert program.wait() == 65, program.text
    assert indices(chain.lines()) == [each for each in range(EVENTS) if each not in (7, 8)]
    assert "work: 100 received, 98 sent, 2 quarantined" in program.text
    assert "2 in quarantine: see 'arroyo quarantine list numbers'" in program.text
    assert "chain numbers ended with exit code 65 after " in program.lines[-1]
    assert program.lines[-1].endswith(" s: 2 messages in quarantine")
    entries = json.loads(chain.command("quarantine", "list", chain.path, "--json"))
    assert [each["sequence"] for each in entries] == [7, 8]
    (shown,) = json.loads(
        chain.command("quarantine", "show", chain.path, entries[0]["id"], "--json")
    )
    assert "worked" not in shown["metadata"]


def test_what_stages_print_comes_before_the_account_and_the_outcome_last(make_chain):
    chain = make(make_chain, "say", [7])
    chain.environ.pop("PYTHONUNBUFFERED", None)
    program = chain.supervise("--in-process")
    assert program.wait() == 0, program.text
    printed, *account, last = program.lines
    assert printed == "this one is bad"
    assert len(account) == 3
    assert re.search(r" numbers: chain numbers ended well after [\d.]+ s$", last)


def test_a_message_waits_for_what_is_away(make_chain):
    chain = make(make_chain, "want", [7])
    program = chain.supervise("--in-process")
    wait_until((chain.folder / "waiting").exists, chain.text)
    assert len(indices(chain.lines())) == 7
    (chain.folder / "there").touch()
    assert program.wait() == 0, program.text
    assert indices(chain.lines()) == list(range(EVENTS))
    assert "the server is away; it is tried again until it works" in program.text


def test_a_chain_that_waits_for_what_is_away_can_be_stopped(make_chain):
    chain = make(make_chain, "want", [7])
    chain.path.write_text(f"{chain.path.read_text()}\n[supervisor]\nstop_timeout_s = 0.1\n")
    program = chain.supervise("--in-process")
    wait_until((chain.folder / "waiting").exists, chain.text)
    program.send(signal.SIGTERM)
    assert program.wait() == 75
    assert "error: the server is away" in program.text
    assert "Traceback" not in program.text


def test_a_flush_that_raises_is_told_in_a_sentence(make_chain):
    never = '[stages.write]\npublisher = "touchy:NeverFlushes"\ninputs = ["work"]\n'
    chain = make(make_chain, "fail", [], never)
    program = chain.supervise("--in-process")
    assert program.wait() == 70
    assert "error: NeverFlushes.flush() raised ValueError: no disk" in program.text
    assert "Traceback" not in program.text


ORDERED = '''
import threading

from arroyo import Event, Listener, Publisher


def tell(line):
    with open("told", "a") as file:
        file.write(line + "\\n")


class Rows(Listener):
    """Hands over rows until it is stopped, faster than anybody can work on them."""

    def start(self):
        row = 0
        while not self.stopping.is_set() and row < 20_000:
            self.operator.process(Event({"row": row}), token=row)
            row += 1

    def open(self):
        self.stopping = threading.Event()

    def stop(self):
        self.stopping.set()

    def acknowledge(self, token):
        tell(f"acknowledged {token}")


class Table(Publisher):
    """Commits in flush()."""

    def open(self):
        self.latest = -1

    def publish(self, message):
        if isinstance(message, Event):
            self.latest = message.metadata["row"]

    def flush(self):
        tell(f"flushed {self.latest}")
'''


def test_input_is_acknowledged_once_it_is_flushed_also_while_more_comes_all_the_time(make_chain):
    chain = make_chain(
        '[stages.rows]\nlistener = "ordered:Rows"\nwindow = 100\n',
        '[stages.table]\npublisher = "ordered:Table"\ninputs = ["rows"]\n',
    )
    (chain.folder / "ordered.py").write_text(ORDERED)
    program = chain.supervise("--in-process")
    assert program.wait() == 0, program.text
    flushed, early = -1, []
    told = [line.split() for line in (chain.folder / "told").read_text().splitlines()]
    for what, number in told:
        if what == "flushed":
            flushed = int(number)
        elif int(number) > flushed:
            early.append(int(number))
    assert early == []
    assert sum(what == "acknowledged" for what, _ in told) == 20_000
    # Not only at the end.
    assert next(line for line in told if line[0] == "flushed") != ["flushed", "19999"]
