#!/usr/bin/env python3
"""Measures what watching a chain of 50 idle stages costs: the supervisor, `arroyo top`, the page.

Each as a share of a core, and what memory it has, in turns of some seconds: the supervisor alone,
with `top` on a terminal of 140 x 50 characters, and with the page open in a headless chromium,
whose own time is left out. The machine should do nothing else: where it does, all of them take
more. Usage: watch_cost.py [--turns N] [--seconds S]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from shown_chain import ShownChain, ShownPage, running, shown_chain, shown_page

CHAIN = """
[chain]
name = "watch-cost"
[stages.idle]
listener = "own:Idle"
[stages.work]
operator = "own:Work"
inputs = ["idle"]
replicas = 48
[stages.sink]
publisher = "own:Sink"
inputs = ["work"]
"""
STAGES = """
import threading

from arroyo import Listener, Operator, Publisher

class Idle(Listener):
    def start(self):
        self.stopping = threading.Event()
        self.stopping.wait()

    def stop(self):
        self.stopping.set()

class Work(Operator):
    def process(self, message):
        return message

class Sink(Publisher):
    def publish(self, message):
        pass
"""
SETTLES_S = 3.0


@contextmanager
def top(chain: Path) -> Iterator[subprocess.Popen]:
    """Run `arroyo top` on a terminal that somebody reads."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color"}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with running("arroyo", "top", chain, env=environ, **streams) as process:
        os.close(theirs)
        threading.Thread(target=drain, args=(ours,), daemon=True).start()
        yield process


def drain(descriptor: int) -> None:
    """Read a terminal until nobody writes to it any more."""
    try:
        while os.read(descriptor, 1 << 16):
            pass
    except OSError:
        os.close(descriptor)


def measure(processes: dict[str, int], seconds: float) -> dict[str, float]:
    """Return the share of a core that each process takes, in percent."""
    time.sleep(SETTLES_S)
    watched = {name: psutil.Process(pid) for name, pid in processes.items()}

    def times() -> dict[str, float]:
        found = {name: process.cpu_times() for name, process in watched.items()}
        return {name: used.user + used.system for name, used in found.items()}

    before, since = times(), time.monotonic()
    time.sleep(seconds)
    after, over = times(), time.monotonic() - since
    for name, process in watched.items():
        share, memory = 100 * (after[name] - before[name]) / over, process.memory_info().rss
        print(f"  {name}: {share:.2f} % of a core, {memory / 2**20:.1f} MiB", flush=True)
    return {name: 100 * (after[name] - before[name]) / over for name in watched}


class Watched(NamedTuple):
    """What runs all the time."""

    chain: ShownChain
    page: ShownPage

    def turn(self, seconds: float) -> dict[str, float]:
        """Measure once: alone, with top, with the page."""
        supervisor = {"supervisor": self.chain.pid}
        self.page.browser.open("about:blank")
        print("alone")
        found = measure(supervisor, seconds)
        print("with top")
        with top(self.chain.path) as process:
            found = measure(supervisor | {"top": process.pid}, seconds) | found
        print("with the page")
        self.page.browser.open(self.page.address)
        self.page.browser.wait_until("document.querySelectorAll('.stage').length == 3")
        return measure(supervisor | {"page": self.page.pid}, seconds) | found


def main() -> None:
    """Run the chain, the page, the browser, and top in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with shown_chain(CHAIN, STAGES) as chain, shown_page(chain.path) as page:
        time.sleep(SETTLES_S)
        found = [Watched(chain, page).turn(given.seconds) for _ in range(given.turns)]
    for name in found[0]:
        print(f"{name}: {statistics.median(each[name] for each in found):.2f} % of a core")


if __name__ == "__main__":
    main()
