"""What a supervisor costs: while a chain is idle, and after many crashes of its stages.

``ARROYO_SOAK=1000`` has so many crashes after as many to warm up, and an idle chain watched for a
minute, on a machine that does nothing else; that takes 5 minutes. -s shows figures.
"""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest
from chains import indices, listener, operator, publisher, wait_until

from arroyo.control.requests import request

IS_LONG = "ARROYO_SOAK" in os.environ
CRASHES = int(os.environ.get("ARROYO_SOAK", "60"))
WARM_UP = 1000 if IS_LONG else 30
"""Crashes before memory is looked at. What is kept is full after 200, and once, after some 500,
the interpreter makes its table of interned strings larger, for the names of files: 0.5 MiB.
Tables of that size are made anew in their place from then on."""
IDLE_S = 60.0 if IS_LONG else 5.0
CPU_LIMIT = 0.01 if IS_LONG else 0.03
"""Share of a core; on a machine that is busy with other tests it is more."""
RSS_LIMIT = 30 * 2**20
GROWTH_LIMIT = 2**18 if IS_LONG else 2**20
KINDS = signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT
OFTEN = "[supervisor]\nmax_restarts = 1000000\nchain_max_restarts = 1000000"


class Watched:
    """A chain with a supervisor, of which descriptors, memory and processor time are read."""

    def __init__(self, make_chain, workers, keys=""):
        self.chain = make_chain(
            listener("count", events=10, pause_at=5),
            operator("work", "Pass", ["count"], keys=f'replicas = {workers}\nbackoff_s = "1 ms"'),
            publisher("write", ["work"]),
            keys=keys,
        )
        self.program = self.chain.supervise()
        self.supervisor = psutil.Process(self.program.pid)
        self.chain.wait_until_ready()

    def usage(self):
        """Open files and resident memory of the supervisor and its fork server, by name."""
        processes = {"supervisor": self.supervisor}
        for child in self.supervisor.children():
            if "fork-server" in child.cmdline():
                processes["fork server"] = child
        return {
            name: (process.num_fds(), process.memory_info().rss)
            for name, process in processes.items()
        }

    def files(self):
        """How many files there are in the folders of the chain."""
        folders = self.chain.run_directory.path, self.chain.state_directory.path
        return sum(1 for folder in folders for path in Path(folder).rglob("*") if path.is_file())

    def crash(self, number):
        """End the worker by a signal, and wait until the next one is READY."""
        before = self.worker()["pid"]
        os.kill(before, number)

        def is_replaced():
            row = self.worker()
            if row["state"] == "BACKOFF":
                request(self.chain.run_directory.control, "start", "work.0")
            return row["pid"] not in {None, before} and row["state"] == "READY"

        wait_until(is_replaced, self.chain.text)

    def finish(self):
        """Let the chain end, which loses nothing."""
        self.chain.open_gate()
        assert self.program.wait() == 0, self.chain.text()
        assert sorted(set(indices(self.chain.lines()))) == list(range(10))

    def worker(self):
        found = request(self.chain.run_directory.control, "status")["replicas"]
        return next(row for row in found if row["replica"] == "work.0")


@pytest.mark.timeout(1800)
def test_crashes_leave_no_file_open_and_take_no_memory(make_chain):
    watched = Watched(make_chain, 1, keys=OFTEN)
    for turn in range(WARM_UP):
        watched.crash(KINDS[turn % len(KINDS)])
    before, files = watched.usage(), watched.files()
    for turn in range(CRASHES):
        watched.crash(KINDS[turn % len(KINDS)])
    after = watched.usage()
    print(f"{CRASHES} crashes: {before} before, {after} after; {files} and {watched.files()} files")
    assert before.keys() == after.keys() == {"supervisor", "fork server"}
    for name, (descriptors, memory) in before.items():
        # One more may be open for a moment: a connection, or a status page.
        wait_until(
            lambda name=name, most=descriptors: watched.usage()[name][0] <= most, watched.chain.text
        )
        assert after[name][1] - memory <= GROWTH_LIMIT, name
    assert watched.files() == files
    watched.finish()


def test_fifty_idle_stages_cost_next_to_nothing_to_watch(make_chain):
    watched = Watched(make_chain, workers=48)
    before = watched.supervisor.cpu_times()
    threading.Event().wait(IDLE_S)  # what it does in this time is the question
    after = watched.supervisor.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    memory = watched.supervisor.memory_info().rss
    print(f"50 stages: {100 * used_s / IDLE_S:.2f} % of a core, {memory / 2**20:.1f} MiB")
    assert memory <= RSS_LIMIT
    assert used_s <= CPU_LIMIT * IDLE_S
    watched.finish()
