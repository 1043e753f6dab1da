"""Messages that a stage fails on: kept for people, one at a time, and brought back."""

import json

import pytest
from chains import indices, kill, listener, operator, publisher, totals, wait_until

STAGES = '''
import asyncio
import ctypes
import os
import sys
from pathlib import Path

from arroyo import Event, Operator, Publisher


class Touchy(Operator):
    """Does to some messages what its name says, until the file "mended" is there."""

    def __init__(self, how, at):
        self.how, self.at = how, at

    def process(self, message):
        if not isinstance(message, Event):
            return message
        bad = message.metadata["index"] in self.at and not Path("mended").exists()
        message.metadata["worked"] = message.metadata.get("worked", 0) + 1
        if bad:
            getattr(self, self.how)(message)
        return message

    def segfault(self, message):
        ctypes.string_at(0)

    def fail(self, message):
        raise ValueError(f"no sense in {message.metadata['index']}")

    def leave(self, message):
        os._exit(3)

    def raise_all_sorts(self, message):
        """What Python keeps for other uses, and what can't be shown."""
        index = message.metadata["index"]
        if index % 5 == 0:
            sys.exit(0)
        raise [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Mute][index % 5 - 1]


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")
'''
EVENTS = 300
BAD = [7, 8, 150]
QUICK = 'backoff_s = "10 ms"\n'


def make(make_chain, how, at=BAD, *, keys=QUICK, events=EVENTS, **options):
    chain = make_chain(
        listener("count", events=events, **options),
        operator("before", "Pass", ["count"]),
        operator("work", "touchy:Touchy", ["before"], how=how, at=at, keys=keys),
        publisher("write", ["work"]),
        publisher("beside", ["before"], path="beside.jsonl"),
        keys="[supervisor]\nmax_restarts = 100\nchain_max_restarts = 100",
    )
    (chain.folder / "touchy.py").write_text(STAGES)
    return chain


def entries(chain):
    return json.loads(chain.command("quarantine", "list", chain.path, "--json"))


def good(bad=BAD):
    return [number for number in range(EVENTS) if number not in bad]


def test_what_raises_is_kept_with_its_reason_and_stack_and_its_neighbours_arrive(make_chain):
    chain = make(make_chain, "fail")
    assert chain.supervise().wait() == 65, chain.text()
    lines = chain.lines()
    assert sorted(indices(lines)) == good()
    assert totals(lines)["quarantined"] == len(BAD)
    assert sorted(indices(chain.lines("beside.jsonl"))) == list(range(EVENTS))
    found = entries(chain)  # of a stopped chain
    assert [entry["sequence"] for entry in found] == BAD
    assert {entry["stage"] for entry in found} == {"work"}
    assert found[0]["reason"] == "raised ValueError: no sense in 7"
    assert "touchy.py" in found[0]["stack"]
    (shown,) = json.loads(chain.command("quarantine", "show", chain.path, found[0]["id"], "--json"))
    assert shown["metadata"]["index"] == 7
    assert "worked" not in shown["metadata"]  # as it came, not as process() left it


def test_whatever_is_raised_is_kept_and_costs_no_process(make_chain):
    bad = [20, 41, 62, 83, 104]
    chain = make(make_chain, "raise_all_sorts", bad)
    supervisor = chain.supervise()
    assert supervisor.wait() == 65, chain.text()
    assert "starting it again" not in supervisor.text
    assert sorted(indices(chain.lines())) == good(bad)
    assert [entry["reason"] for entry in entries(chain)] == [
        "raised SystemExit: 0",
        "raised KeyboardInterrupt",
        "raised GeneratorExit",
        "raised CancelledError",
        "raised Mute (its __str__() raised ValueError)",
    ]


def test_a_message_that_exits_the_process_is_kept_at_its_third_exit(make_chain):
    chain = make(make_chain, "leave", [7])
    assert chain.supervise().wait() == 65, chain.text()
    assert sorted(indices(chain.lines())) == good([7])
    (entry,) = entries(chain)
    assert entry["reason"] == "was ended by an exit(3) in the stage's own code"
    assert entry["attempts"] == 3


def test_what_is_brought_back_goes_into_the_stage_that_failed_and_nowhere_else(make_chain):
    chain = make(make_chain, "fail")
    assert chain.supervise().wait() == 65, chain.text()
    (chain.folder / "mended").touch()
    chain.command("quarantine", "requeue", "numbers", "--all")
    assert {entry["state"] for entry in entries(chain)} == {"requeued"}
    sent, beside = len(chain.lines()), chain.count("beside.jsonl")
    assert chain.supervise().wait() == 0, chain.text()
    again = chain.lines()[sent:]
    returned = [line for line in again if line["type"] == "Event"][: len(BAD)]
    assert sorted(indices(returned)) == BAD
    assert {line["metadata"]["worked"] for line in returned} == {1}
    assert entries(chain) == []
    more = chain.lines("beside.jsonl")[beside:]
    assert sorted(indices(more)) == list(range(EVENTS))


@pytest.mark.parametrize("size_bytes", [0, 40_000])
def test_a_message_that_ends_its_process_is_kept_at_the_third_time_and_can_be_brought_back(
    make_chain, size_bytes
):
    chain = make(make_chain, "segfault", [20], pause_at=200, size_bytes=size_bytes)
    supervisor = chain.supervise()
    wait_until(lambda: len(entries(chain)) == 1, chain.text)
    (entry,) = entries(chain)
    assert (entry["sequence"], entry["attempts"], entry["stage"]) == (20, 3, "work")
    assert entry["reason"] == "died of a segmentation fault (SIGSEGV)"
    assert "touchy.py" in entry["stack"]
    chain.wait_until_ready()
    assert chain.status()["work.0"]["restarts"] == 3
    (chain.folder / "mended").touch()
    chain.command("quarantine", "requeue", chain.path, entry["id"])
    wait_until(lambda: not entries(chain), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    assert sorted(set(indices(lines))) == list(range(EVENTS))
    assert indices(lines).count(20) == 1
    events = [line for line in lines if line["type"] == "Event"]
    assert all(event["crc"] == event["metadata"]["crc"] for event in events)
    assert totals(lines)["quarantined"] == 1


def test_a_poisonous_output_of_a_fold_is_kept_by_the_fold_and_comes_back(make_chain):
    chain = make_chain(
        listener("count", events=100, pause_at=90),
        operator("fold", "Gather", ["count"]),
        operator("work", "touchy:Touchy", ["fold"], how="segfault", at=[10], keys=QUICK),
        publisher("write", ["work"]),
        keys="[supervisor]\nmax_restarts = 100\nchain_max_restarts = 100",
    )
    (chain.folder / "touchy.py").write_text(STAGES)
    supervisor = chain.supervise()
    wait_until(lambda: entries(chain), chain.text)
    (entry,) = entries(chain)
    assert (entry["source"], entry["sequence"]) == ("fold.0", 2)
    (chain.folder / "mended").touch()
    chain.command("quarantine", "requeue", chain.path, entry["id"])
    wait_until(lambda: 10 in indices(chain.lines()), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(0, 100, 5))
    assert entries(chain) == []
    stop = next(line for line in chain.lines() if line["type"] == "Stop")
    assert stop["data"]["totals"]["quarantined"] == 1


def test_plain_kills_put_nothing_into_quarantine(make_chain):
    chain = make(make_chain, "fail", [], events=2000, pause_at=1000)
    supervisor = chain.supervise()
    killed = {None}
    for _ in range(10):
        wait_until(lambda: chain.pids().get("work.0") not in killed, chain.text)
        killed.add(chain.pids()["work.0"])
        chain.kill("work.0")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert entries(chain) == []
    assert sorted(set(indices(chain.lines()))) == list(range(2000))


@pytest.mark.logs_errors("stage work is broken, not its messages")
def test_a_stage_that_fails_on_everything_is_broken_and_keeps_its_messages_in_the_chain(
    make_chain,
):
    chain = make(make_chain, "fail", list(range(EVENTS)), keys='restart = "never"', pause_at=100)
    supervisor = chain.supervise()
    supervisor.wait_for("work is broken, not its messages")
    supervisor.wait_for("FAILED")
    assert len(entries(chain)) == 10
    supervisor.kill()
    for pid in chain.pids().values():
        kill(pid)


def test_messages_are_kept_in_one_process_as_well(make_chain):
    chain = make(make_chain, "fail")
    assert chain.supervise("--in-process").wait() == 65, chain.text()
    assert [entry["sequence"] for entry in entries(chain)] == BAD
    assert totals(chain.lines())["quarantined"] == len(BAD)
