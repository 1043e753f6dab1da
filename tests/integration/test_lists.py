"""Stages that take lists, and processes that die with one in hand: only the guilty one is kept."""

import json
import re

import pytest
from chains import indices, listener, operator, publisher, totals, wait_until

STAGES = '''
import ctypes
import os
import threading
from pathlib import Path

from arroyo import Event, Operator, Publisher


class Deadly:
    """Does to a list with certain indices what its name says; notes how long its lists are."""

    def __init__(self, how, at, path=""):
        self.how, self.at, self.path = how, at, path

    def take(self, messages):
        with Path("lengths").open("a") as file:
            file.write(f"{len(messages)}\\n")
        if any(each.metadata["index"] in self.at for each in messages):
            getattr(self, self.how)()

    def segfault(self):
        ctypes.string_at(0)

    def leave(self):
        os._exit(0)

    def hang(self):
        threading.Event().wait()


class Works(Deadly, Operator):
    def process_batch(self, messages):
        self.take(messages)
        return messages


class Writes(Deadly, Publisher):
    """Appends the indices of a list in one write."""

    def publish_batch(self, messages):
        self.take(messages)
        text = "".join(f'{each.metadata["index"]}\\n' for each in messages)
        with Path(self.path).open("a") as file:
            file.write(text)


class Slow(Operator):
    """Lists wait in front of it."""

    def process_batch(self, messages):
        threading.Event().wait(0.002)
        return messages
'''
EVENTS = 300
BAD = [7, 150]
"""Of each, four processes die; the pauses between deaths double."""
OFTEN = "[supervisor]\nmax_restarts = 100\nchain_max_restarts = 100"
QUICK = 'backoff_s = "10 ms"\n'


@pytest.fixture
def make(make_chain):
    def make_lists(*tables):
        chain = make_chain(*tables, keys=OFTEN)
        (chain.folder / "lists.py").write_text(STAGES)
        return chain

    return make_lists


def entries(chain):
    return json.loads(chain.command("quarantine", "list", chain.path, "--json"))


def good():
    return [number for number in range(EVENTS) if number not in BAD]


def lengths(chain):
    return [int(line) for line in (chain.folder / "lengths").read_text().split()]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("segfault", "died of a segmentation fault (SIGSEGV)"),
        ("leave", "was ended by an exit(0) in the stage's own code"),
    ],
)
def test_of_a_list_that_ends_processes_only_the_messages_to_blame_are_kept(
    make, how, reason, replicas
):
    keys = f"{QUICK}replicas = {replicas}\n"
    chain = make(
        listener("count", events=EVENTS),
        operator("work", "lists:Works", ["count"], how=how, at=BAD, keys=keys),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    assert supervisor.wait(60) == 65, chain.text()
    lines = chain.lines()
    assert sorted(indices(lines)) == good()
    assert totals(lines)["quarantined"] == len(BAD)
    found = entries(chain)
    assert sorted(each["sequence"] for each in found) == BAD
    assert {each["reason"] for each in found} == {reason}
    assert max(lengths(chain)) > 1
    ends_with_lists = re.findall(r"on count\.0 messages (\d+) to (\d+)", supervisor.text)
    assert 0 < len(ends_with_lists) <= len(BAD), supervisor.text
    assert supervisor.text.count(" on count.0 message ") >= 3 * len(BAD)


def test_a_publisher_that_dies_of_a_list_publishes_all_others(make):
    chain = make(
        listener("count", events=EVENTS),
        publisher("write", ["count"], "lists:Writes", how="segfault", at=BAD, keys=QUICK),
    )
    assert chain.supervise().wait(60) == 65, chain.text()
    written = (chain.folder / "out.jsonl").read_text().split()
    assert sorted({int(each) for each in written}) == good()
    assert sorted(each["sequence"] for each in entries(chain)) == BAD


def test_a_list_that_hangs_is_tried_one_by_one(make):
    keys = f"{QUICK}process_timeout_s = 0.5\n"
    chain = make(
        listener("count", events=20),
        operator("work", "lists:Works", ["count"], how="hang", at=[7], keys=keys),
        publisher("write", ["work"]),
    )
    assert chain.supervise().wait(60) == 65, chain.text()
    assert sorted(indices(chain.lines())) == [number for number in range(20) if number != 7]
    (found,) = entries(chain)
    assert "hung in process()" in found["reason"]


def test_plain_kills_cost_nothing_and_lists_stay_lists(make):
    chain = make(
        listener("count", events=3000),
        operator("work", "lists:Slow", ["count"], keys=f"{QUICK}replicas = 2"),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    killed = {None}
    for count in (100, 500, 1000):
        chain.wait_for_lines(count)
        wait_until(lambda: chain.pids().get("work.0") not in killed, chain.text)
        killed.add(chain.pids()["work.0"])
        chain.kill("work.0")
    assert supervisor.wait(60) == 0, chain.text()
    lines = chain.lines()
    assert sorted(indices(lines)) == list(range(3000))
    assert totals(lines)["complete"]
    assert entries(chain) == []
