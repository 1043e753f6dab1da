#!/usr/bin/env python3
"""Measures what the live page costs a chain whose frames it shows: rate with and without, in turns.

A chain of three stages has frames of 8 MiB at 100 a second; a headless chromium looks at one of
them. It needs chromium. Usage: page_cost.py [--pairs N] [--seconds S]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from shown_chain import ShownPage, shown_chain, shown_page

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


def published(chain: Path) -> int:
    """Return how many frames have come to the sink."""
    words = [Path(sys.executable).with_name("arroyo"), "status", str(chain), "--json"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return sum(row["received"] for row in found["stages"] if row["stage"] == "sink")


def rate(chain: Path, seconds: float) -> float:
    """Return frames per second at the sink."""
    before, since = published(chain), time.monotonic()
    time.sleep(seconds)
    return (published(chain) - before) / (time.monotonic() - since)


def measure(chain: Path, shown: ShownPage, pairs: int, seconds: float) -> None:
    """Print each pair, and their middle."""
    page = shown.browser
    page.look(width=1400, height=1600)
    ratios = []
    for _ in range(pairs):
        page.open("about:blank")
        time.sleep(3)
        closed = rate(chain, seconds)
        page.open(shown.address)
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
    with shown_chain(CHAIN, STAGES) as chain, shown_page(chain.path) as page:
        time.sleep(3)
        measure(chain.path, page, given.pairs, given.seconds)


if __name__ == "__main__":
    main()
