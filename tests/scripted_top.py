"""The screen of `arroyo top` with scripted snapshots in place of a chain, as a person sees it."""

import asyncio

import pytest
from live_snapshots import snapshot
from supervised_histories import make_chain
from textual.widgets import Input, Static

from arroyo.cli.terminal.app import TopApp
from arroyo.cli.terminal.table import ChainTable
from arroyo.errors import UnavailableError, UsageError
from arroyo.supervision.live.chain_view import ChainWatch

LINKS = {"images": (), "rebin": ("images",), "integrate": ("rebin",), "patterns": ("integrate",)}
DEADLINE_S = 60.0
EVERY_S = 0.1
"""Between two looks the app is idle, which a pilot waits for after each key."""


class Logs:
    def __init__(self, *texts):
        self.texts = list(texts)
        self.closed = False

    def read(self):
        return self.texts.pop(0) if self.texts else ""

    def close(self):
        self.closed = True


class ScriptedChain:
    """A chain that is seen a second later at each look, with a slow stage."""

    def __init__(self):
        self.chain = make_chain(LINKS, integrate={"replicas": 2})
        self.watch = ChainWatch(self.chain)
        self.seconds = 0
        self.state = "READY"
        self.slow = True
        self.trouble = None
        self.asked = []
        self.opened = Logs("rebin.0  ready\n", "rebin.0  took [0] and [1]\n")

    def look(self):
        if self.trouble is not None:
            raise UsageError(self.trouble)
        self.seconds += 1
        at = self.seconds
        rows = {
            "images": {"received": 100 * at, "in_flight": 20},
            "rebin": {"blocked_s": 0.7 * at if self.slow else 0.0, "received": 100 * at},
            "integrate": {"busy_s": 0.9 * at, "received": 50 * at, "inputs": {"rebin": 50 * at}},
            "patterns": {"cpu_s": 0.5 * at, "received": 100 * at},
        }
        return self.watch.add(snapshot(self.chain, float(at), state=self.state, **rows))

    def history(self, name):
        self.asked.append(("history", name))
        if name == "images":
            raise UnavailableError("images.0 does not answer")
        return f"{name} took batch [7]"

    def logs(self, name):
        self.asked.append(("logs", name))
        return self.opened

    def restart(self, name):
        self.asked.append(("restart", name))
        if name == "images":
            raise UnavailableError("no supervisor answers")
        return f"restarting {name}"

    def stop(self, name):
        self.asked.append(("stop", name))
        return f"stopping {name}"

    def start(self, name):
        self.asked.append(("start", name))
        return f"starting {name}"

    def scale(self, stage, number):
        self.asked.append(("scale", stage, number))
        return f"{stage}: {number}"


class Screen:
    """The app as a person sees it: its texts, after keys."""

    def __init__(self, app, pilot):
        self.app = app
        self.pilot = pilot

    def text(self, name):
        return str(self.app.screen.query_one(f"#{name}", Static).content)

    @property
    def rows(self):
        table = self.app.screen.query_one(ChainTable)
        lines = [table.render_line(y).text.rstrip() for y in range(table.size.height)]
        return [line for line in lines if line]

    def names(self):
        return [row[:18].strip() for row in self.rows]

    @property
    def selected(self):
        return self.app.screen.query_one(ChainTable).selected.cells[0].text.strip()

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def ask_for_a_number(self):
        """Press the key of scale; wait until a number may be typed."""
        await self.press("n")
        await self.until(lambda: isinstance(self.app.focused, Input))

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.pilot.pause(0.01)


@pytest.fixture
def top_chain():
    return ScriptedChain()


@pytest.fixture
def top(top_chain):
    """Run a coroutine function with the screen, on a terminal of a size."""

    def run(see, size=(140, 24)):
        async def main():
            app = TopApp(top_chain, every_s=EVERY_S)
            async with app.run_test(size=size, notifications=True) as pilot:
                screen = Screen(app, pilot)
                await screen.until(lambda: top_chain.seconds > 1 or top_chain.trouble)
                await see(screen)

        asyncio.run(main())

    return run
