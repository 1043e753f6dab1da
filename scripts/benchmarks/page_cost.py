#!/usr/bin/env python3
"""Measures what the live page costs a chain whose frames it shows: rate with and without, in turns.

A chain of three stages has frames of 8 MiB at 100 a second; a headless chromium looks at one of
them. It needs chromium. Usage: page_cost.py [--pairs N] [--seconds S]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from chromium import chromium

CHAIN = """
[chain]
name = "page-cost"
[stages.images]
listener = "arroyo.connectors:SyntheticListener"
options = { events = 1000000, shape = [2048, 2048], rate_hz = 100 }
[stages.work]
operator = "own:Work"
inputs = ["images"]
[stages.sink]
publisher = "own:Sink"
inputs = ["work"]
"""
STAGES = """
from arroyo import Operator, Publisher

class Work(Operator):
    def process(self, message):
        return message

class Sink(Publisher):
    def publish(self, message):
        pass
"""
PAINTED = "Number(document.querySelector('#frames canvas').dataset.number)"


def program(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).with_name(name))


def published(chain: Path) -> int:
    """Return how many frames have come to the sink."""
    words = [program("arroyo"), "status", str(chain), "--json"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return sum(row["received"] for row in found["stages"] if row["stage"] == "sink")


def rate(chain: Path, seconds: float) -> float:
    """Return frames per second at the sink."""
    before, since = published(chain), time.monotonic()
    time.sleep(seconds)
    return (published(chain) - before) / (time.monotonic() - since)


def measure(chain: Path, address: str, pairs: int, seconds: float, stack: ExitStack) -> None:
    """Print each pair, and their middle."""
    page = stack.enter_context(chromium(stack.enter_context(tempfile.TemporaryDirectory())))
    page.look(width=1400, height=1600)
    ratios = []
    for _ in range(pairs):
        page.open("about:blank")
        time.sleep(3)
        closed = rate(chain, seconds)
        page.open(address)
        page.wait_until("document.querySelectorAll('.stage').length == 3")
        page.value("document.querySelector('[aria-label=\"stage work\"] .look').click()")
        page.wait_until(f"{PAINTED} > 0")
        time.sleep(2)
        first, since = page.value(PAINTED), time.monotonic()
        opened = rate(chain, seconds)
        painted = (page.value(PAINTED) - first) / (time.monotonic() - since)
        ratios.append(opened / closed)
        print(f"closed {closed:.2f}/s, open {opened:.2f}/s: {ratios[-1]:.4f}", end="; ")
        print(f"{painted:.1f} frames/s shown", flush=True)
    print(f"median of {pairs}: {statistics.median(ratios):.4f}")


def main() -> None:
    """Run the chain, the page, and the browser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chain = folder / "chain.toml"
        chain.write_text(CHAIN)
        (folder / "own.py").write_text(STAGES)
        os.environ.update(ARROYO_RUN_DIR=f"{folder}/run", ARROYO_STATE_DIR=f"{folder}/state")
        started = []
        for words, output in (
            (["arroyo-supervise", chain], subprocess.DEVNULL),
            (["arroyo", "dashboard", chain, "--listen", "127.0.0.1:0"], subprocess.PIPE),
        ):
            process = subprocess.Popen([program(words[0]), *words[1:]], stdout=output, text=True)
            started.append(process)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
        address = started[-1].stdout.readline().partition(" at ")[2].split()[0]
        time.sleep(3)
        measure(chain, address, given.pairs, given.seconds, stack)


if __name__ == "__main__":
    main()
