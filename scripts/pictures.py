#!/usr/bin/env python3
"""Runs a chain with a slow stage for a minute, and saves what top and the live page show of it.

The pictures are those in arroyo/supervision/README.md and arroyo/dashboard/README.md. It needs
chromium.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

from shown_chain import shown_chain, shown_page

from arroyo.cli.commands.top import TopChain
from arroyo.cli.terminal.app import TopApp
from arroyo.config.reader import load_chain
from arroyo.supervision.reporting.status import read_status

PACKAGE = Path(__file__).parents[1] / "arroyo"
SIZE = (148, 18)
CHAIN = """
[chain]
name = "powder"

[stages.images]
listener = "arroyo.connectors:SyntheticListener"
options = { events = 1000000, shape = [512, 512], rate_hz = 100 }
window = 60

[stages.mask]
operator = "own:Mask"
inputs = ["images"]

[stages.integrate]
operator = "own:Integrate"
inputs = ["mask"]
replicas = 2

[stages.patterns]
publisher = "own:Discard"
inputs = ["integrate"]

[stages.live]
publisher = "own:Discard"
inputs = [{ stage = "integrate", link = "pub-sub" }]
"""
STAGES = """
import time

from arroyo import Event, Operator, Publisher


class Mask(Operator):
    def process(self, message):
        return message


class Integrate(Operator):
    def process(self, message):
        if isinstance(message, Event):
            time.sleep(0.03)
            if message.metadata["index"] % 1500 == 700:
                raise ValueError("no beam in this frame")
            return Event.from_array(message.array.mean(axis=0), **message.metadata)


class Discard(Publisher):
    def publish(self, message):
        pass
"""


async def take_pictures(chain: Path) -> None:
    """Look at the chain for a minute, in which a process is killed, and save what is seen."""
    app = TopApp(TopChain(str(chain)))
    async with app.run_test(size=SIZE) as pilot:
        dashboard = asyncio.create_task(asyncio.to_thread(take_pages, chain))
        await asyncio.sleep(30)
        rows = read_status(load_chain(chain), os.environ)["stages"]
        os.kill(next(row["pid"] for row in rows if row["stage"] == "integrate"), signal.SIGKILL)
        await asyncio.sleep(35)
        await pilot.press("j", "j")
        picture = app.export_screenshot(title="arroyo top powder")
        (PACKAGE / "supervision" / "top.svg").write_text(slim(picture))
        await dashboard


def take_pages(chain: Path) -> None:
    """Look at the live page for a minute, and save it light and dark."""
    with shown_page(chain) as shown:
        page = shown.browser
        page.open(shown.address)
        time.sleep(62)
        page.value("document.querySelector('.bottleneck button').click()")
        for name, dark in (("page.webp", False), ("page_dark.webp", True)):
            page.look(width=1320, height=920, dark=dark)
            time.sleep(2)
            (PACKAGE / "dashboard" / name).write_bytes(page.picture())


def slim(svg: str) -> str:
    """Leave out fonts from elsewhere, and write blanks as such."""
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)
    svg = svg.replace("Fira Code, monospace", "monospace").replace("&#160;", "\u00a0")
    return re.sub(r"\n\s*\n+", "\n", svg)


def main() -> None:
    """Run the chain, and save the pictures."""
    with shown_chain(CHAIN, STAGES) as chain:
        asyncio.run(take_pictures(chain.path))


if __name__ == "__main__":
    main()
