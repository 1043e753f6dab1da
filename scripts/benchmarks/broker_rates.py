#!/usr/bin/env python3
"""Measures a broker's connectors beside loops by hand, in turns: broker to broker, one stage each.

A loop uses the same client library with the same settings; each ratio says what the loop promises.
All move the same messages from one queue to another; the time runs from the first that arrives,
and once more for the second half alone, without what a start costs.
Usage: broker_rates.py [MODULE:CLASS] [--messages N] [--size-bytes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from brokers import Broker, load_broker, numbered
from chains import listener

PART_BYTES = 8 * 2**20
LOOK_S = 0.005
FOLLOW = 10
"""One message in so many follows those that are measured, so that none of them is the last: some
servers count the last ones late."""


def fill(broker: Broker, messages: int, size_bytes: int) -> None:
    """Put the messages in."""
    part = max(1, min(1000, PART_BYTES // max(1, size_bytes)))
    for first in range(0, messages, part):
        broker.produce("in", numbered(first, min(messages, first + part), size_bytes))


class Rates(NamedTuple):
    """How many messages per second a program moves."""

    whole: float
    """Once the first has arrived."""
    steady: float
    """The second half of them."""

    def __str__(self) -> str:
        return f"{self.whole:.2f}, of the second half {self.steady:.2f}"


def rates(broker: Broker, messages: int, program: subprocess.Popen) -> Rates:
    """Return the rates of a program."""
    starts: list[tuple[int, float]] = []
    try:
        while True:
            count, now_s = broker.count("out"), time.monotonic()
            if (count and not starts) or (count >= messages / 2 and len(starts) == 1):
                starts.append((count, now_s))
            if count >= messages:
                return Rates(*((count - first) / (now_s - began_s) for first, began_s in starts))
            time.sleep(LOOK_S)
    finally:
        program.terminate()
        program.wait()


def start_by_hand(program: str, broker: Broker, messages: int) -> subprocess.Popen:
    """Start a loop by hand."""
    options = json.dumps([broker.listener_options("in"), broker.publisher_options("out")])
    return subprocess.Popen([sys.executable, "-c", program, options, str(messages)])


def start_chain(broker: Broker, folder: Path) -> subprocess.Popen:
    """Start a chain of the two connectors."""
    take = listener("take", broker.listener, **broker.listener_options("in"))
    keys = 'inputs = ["take"]'
    give = listener("give", broker.publisher, keys=keys, **broker.publisher_options("out"))
    give = give.replace("listener =", "publisher =")
    folder.mkdir()
    chain = folder / "chain.toml"
    chain.write_text(f'[chain]\nname = "rates"\n{take}{give}')
    places = {"ARROYO_RUN_DIR": str(folder / "run"), "ARROYO_STATE_DIR": str(folder / "state")}
    return subprocess.Popen(
        [Path(sys.executable).with_name("arroyo-supervise"), chain],
        env=os.environ | places,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Print a line for each round, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description="A broker's connectors beside loops by hand.")
    parser.add_argument("broker", nargs="?", default="redis_brokers:RedisStreams")
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--size-bytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the servers would stay
    promises = list(load_broker(given.broker).by_hand)
    ratios: dict[str, list[Rates]] = {promise: [] for promise in promises}
    for _ in range(given.rounds):
        by_hand = {promise: measure(given, promise) for promise in promises}
        chain = measure(given, None)
        print(f"{given.size_bytes} B: chain {chain.whole:,.0f}/s", flush=True)
        for promise, loop in by_hand.items():
            found = Rates(chain.whole / loop.whole, chain.steady / loop.steady)
            ratios[promise].append(found)
            print(f"  beside {loop.whole:,.0f}/s by hand ({promise}): {found}", flush=True)
    for promise, all_found in ratios.items():
        median = Rates(*map(statistics.median, zip(*all_found, strict=True)))
        print(f"median beside the loop by hand ({promise}): {median}")


def measure(given: argparse.Namespace, promise: str | None) -> Rates:
    """Return the rates of a loop, or the chain's, with a server of its own.

    What another one left there slows nobody.
    """
    kind = load_broker(given.broker)
    folder = Path(tempfile.mkdtemp(prefix="arroyo-rates-"))
    server = kind.make_server(folder, fast=True)
    try:
        server.start()
        with closing(kind(server)) as broker:
            broker.make("in")
            broker.make("out")
            messages = given.messages + given.messages // FOLLOW
            fill(broker, messages, given.size_bytes)
            if promise is None:
                program = start_chain(broker, folder / "chain")
            else:
                program = start_by_hand(broker.by_hand[promise], broker, messages)
            return rates(broker, given.messages, program)
    finally:
        server.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
