"""Stages that take long over a message: what is done goes on, and `status` tells of it."""

import os
import re

import pytest
from chains import indices, listener, operator, publisher, wait_until

STAGES = '''
import ctypes
import os
import time
from pathlib import Path

import numpy as np

from arroyo import Event, Listener, Operator, Publisher, Start, Stop
from own_stages import wait_for


def wait():
    wait_for("gate")


def compute():
    while not Path("gate").exists():
        for _ in range(100_000):
            pass


def hold_the_interpreter():
    descriptor = ctypes.PyDLL(None).open(b"gate.fifo", os.O_RDONLY)  # until somebody writes to it
    os.close(descriptor)


def note(message):
    if isinstance(message, Event):
        with open("calls", "a") as calls:
            calls.write(f"{message.metadata['index']}\\n")


class Slow(Operator):
    """Takes `each_s` over a message, and at message `at` as long as the gate is closed."""

    def __init__(self, at=5, how="wait", each_s=0.0):
        self.at, self.how, self.each_s = at, how, each_s

    def process(self, message):
        note(message)
        if isinstance(message, Event):
            if message.metadata["index"] == self.at:
                globals()[self.how]()
            elif self.each_s:
                ctypes.PyDLL(None).usleep(int(self.each_s * 1e6))  # the interpreter waits as well
        return message


class Frames(Listener):
    """Hands over frames that are too large to travel inside their messages."""

    def __init__(self, operator, events):
        super().__init__(operator)
        self.events = events

    def start(self):
        self.operator.process(Start())
        for index in range(self.events):
            self.operator.process(Event.from_array(frame(index), index=index))
        self.operator.process(Stop())

    def stop(self):
        pass


def frame(index):
    return np.full((512, 512), index, "i4")


class SlowWithFrames(Slow):
    """Keeps the last `keeps` frames, and tells of each message whether they are still true."""

    def __init__(self, keeps, passes, **settings):
        super().__init__(**settings)
        self.keeps, self.passes, self.kept = keeps, passes, []

    def process(self, message):
        super().process(message)
        if isinstance(message, Event):
            index = message.metadata["index"]
            if self.keeps:
                self.kept = [*self.kept, (index, message.array)][-self.keeps :]
            for number, kept in [(index, message.array), *self.kept]:
                if (kept != number).any():
                    raise ValueError(f"frame {number} has changed")
            if not self.passes:
                return Event({"index": index})
        return message


class Twos(Slow):
    """Makes one of two."""

    folds = True
    max_inputs = 2

    def process(self, message):
        super().process(message)
        if isinstance(message, Event):
            if message.metadata["index"] % 2:
                return message


class SlowSink(Publisher):
    """Writes `path`; at message `at` it waits for the gate. Takes `each_s` over each."""

    def __init__(self, path, at=5, each_s=0.0):
        self.at, self.each_s = at, each_s
        self.file = open(path, "a")

    def publish(self, message):
        note(message)
        if isinstance(message, Event):
            if message.metadata["index"] == self.at:
                wait()
            time.sleep(self.each_s)  # this is its work
            self.file.write(f"{message.metadata['index']}\\n")
            self.file.flush()


class FlushedSink(Publisher):
    """Flushes; takes so long over each message that flushes fall into the midst of a batch."""

    def __init__(self, path, at=5):
        self.at = at

    def publish(self, message):
        note(message)
        if isinstance(message, Event):
            time.sleep(0.05)  # this is its work
            if message.metadata["index"] == self.at:
                wait()

    def flush(self):
        pass
'''
EVENTS = 20
FRAMES = 100


@pytest.fixture
def run(make_chain):
    """Start a chain whose stages are slow at one message; it ends when the gate is open."""

    def start(*tables):
        chain = make_chain(*tables)
        (chain.folder / "slow.py").write_text(STAGES)
        return chain, chain.supervise()

    return start


def calls(chain):
    file = chain.folder / "calls"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def row_of(chain, name, **least):
    """Wait until the row of `arroyo status` has these numbers at least."""
    found = {}

    def is_there():
        found.update(chain.status()[name])
        return all((found[key] or 0) >= value for key, value in least.items())

    wait_until(is_there, lambda: f"{found}\n{chain.text()}")
    return found


@pytest.mark.parametrize("how", ["wait", "compute"])
def test_results_go_on_while_the_stage_is_long_at_the_next_message(run, how):
    chain, supervisor = run(
        listener("count", events=EVENTS),
        operator("work", "slow:Slow", ["count"], how=how),
        publisher("write", ["work"]),
    )
    wait_until(lambda: indices(chain.lines()) == [0, 1, 2, 3, 4], chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0
    assert indices(chain.lines()) == calls(chain) == list(range(EVENTS))


@pytest.mark.parametrize(("keeps", "passes"), [(0, True), (3, False), (20, True)])
@pytest.mark.parametrize("at", [5, 90])
def test_results_of_frames_in_shared_memory_go_on_as_well(run, at, keeps, passes):
    """Also of a stage that was quick so far."""
    chain, supervisor = run(
        f'[stages.frames]\nlistener = "slow:Frames"\noptions = {{ events = {FRAMES} }}\n',
        operator("work", "slow:SlowWithFrames", ["frames"], at=at, keeps=keeps, passes=passes),
        publisher("write", ["work"]),
    )
    wait_until(lambda: indices(chain.lines()) == list(range(at)), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0
    assert indices(chain.lines()) == calls(chain) == list(range(FRAMES))
    assert ("event.copy()" in chain.text()) == (keeps > 0)


def test_a_slow_stage_that_keeps_no_frames_gets_no_copies(run):
    chain, supervisor = run(
        f'[stages.frames]\nlistener = "slow:Frames"\noptions = {{ events = {EVENTS} }}\n',
        operator("work", "slow:SlowWithFrames", ["frames"], keeps=0, passes=True, each_s=0.03),
        publisher("write", ["work"], "slow:SlowSink", at=-1, each_s=0.02),
    )
    chain.open_gate()
    assert supervisor.wait() == 0
    assert calls(chain).count(EVENTS - 1) == 2
    assert "event.copy()" not in chain.text()


@pytest.mark.parametrize("size_bytes", [0, 100_000])
def test_results_of_a_stage_that_keeps_the_interpreter_do_not_wait_for_the_next(run, size_bytes):
    chain, supervisor = run(
        listener("count", events=EVENTS, pause_at=0, size_bytes=size_bytes),
        operator("work", "slow:Slow", ["count"], how="hold_the_interpreter", at=9, each_s=0.1),
        publisher("write", ["work"]),
    )
    fifo = chain.folder / "gate.fifo"
    os.mkfifo(fifo)
    chain.open_gate()
    # Between two messages the interpreter is free for a moment only, which may be missed.
    wait_until(lambda: len(calls(chain)) == 10 and len(indices(chain.lines())) >= 5, chain.text)
    assert calls(chain) == list(range(10))
    fifo.write_bytes(b"")
    assert supervisor.wait() == 0
    assert indices(chain.lines()) == list(range(EVENTS))


def test_what_the_sinks_have_is_not_repeated_when_the_stage_dies_at_the_next_message(run):
    chain, supervisor = run(
        listener("count", events=EVENTS),
        operator("work", "slow:Slow", ["count"]),
        publisher("write", ["work"]),
    )
    wait_until(lambda: indices(chain.lines()) == [0, 1, 2, 3, 4], chain.text)
    # 5 events and the Start are finished, 15 events are not.
    wait_until(lambda: chain.status()["count.0"]["in_flight"] == 15, chain.text)
    chain.kill("work.0")
    wait_until(lambda: calls(chain).count(5) == 2, chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0
    assert calls(chain) == [*range(6), *range(5, EVENTS)]
    assert indices(chain.lines()) == list(range(EVENTS))


@pytest.mark.parametrize(("kind", "at"), [("SlowSink", 5), ("FlushedSink", 15)])
def test_a_publisher_acknowledges_what_it_has_done_before_its_batch_is_through(run, kind, at):
    chain, supervisor = run(
        listener("count", events=EVENTS), publisher("write", ["count"], f"slow:{kind}", at=at)
    )
    wait_until(lambda: chain.status()["count.0"]["in_flight"] <= 15, chain.text)
    assert len(calls(chain)) <= at + 1
    chain.open_gate()
    assert supervisor.wait() == 0
    assert calls(chain) == list(range(EVENTS))


def test_large_payloads_of_a_slow_stage_go_on_and_are_counted_one_by_one(run):
    chain, supervisor = run(
        listener("count", events=EVENTS, size_bytes=100_000),
        operator("work", "slow:Slow", ["count"], each_s=0.01),
        publisher("write", ["work"]),
    )
    wait_until(lambda: indices(chain.lines()) == [0, 1, 2, 3, 4], chain.text)
    row = row_of(chain, "work.0", received=5, in_hand_s=0.5)
    assert (row["received"], row["sent"]) == (5, 5)
    chain.open_gate()
    assert supervisor.wait() == 0
    assert indices(chain.lines()) == calls(chain) == list(range(EVENTS))


def test_the_outputs_of_a_fold_go_on_while_it_is_long_at_the_next_input(run):
    chain, supervisor = run(
        listener("count", events=EVENTS),
        operator("work", "slow:Twos", ["count"], at=6),
        publisher("write", ["work"]),
    )
    wait_until(lambda: indices(chain.lines()) == [1, 3, 5], chain.text)
    row = row_of(chain, "work.0", received=6, in_hand_s=0.5)
    assert (row["received"], row["sent"]) == (6, 3)
    # Those below have acknowledged the outputs, so the inputs are finished above.
    wait_until(lambda: chain.status()["count.0"]["in_flight"] == 14, chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0
    assert indices(chain.lines()) == list(range(1, EVENTS, 2))


def test_status_tells_how_far_a_slow_stage_has_come_and_for_how_long_it_is_at_a_message(run):
    chain, supervisor = run(
        listener("count", events=EVENTS),
        operator("work", "slow:Slow", ["count"]),
        publisher("write", ["work"], "slow:SlowSink", at=2),
    )
    work, sink = (
        row_of(chain, name, received=least, in_hand_s=0.5)
        for name, least in (("work.0", 5), ("write.0", 2))
    )
    assert (work["received"], work["sent"]) == (5, 5)
    assert sink["received"] == 2
    assert row_of(chain, "count.0", sent=EVENTS)["received"] == EVENTS
    row_of(chain, "work.0", in_hand_s=work["in_hand_s"] + 0.5)
    assert re.search(r"work\.0 .* [0-9.]+ s .*", chain.command("status", chain.path))
    chain.open_gate()
    assert supervisor.wait() == 0
    assert all(row_of(chain, name)["in_hand_s"] is None for name in ("work.0", "write.0"))
