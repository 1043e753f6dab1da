"""A chain with a slow stage, as people see it who look at it again and again."""

import asyncio
import signal

from chains import indices, listener, operator, publisher
from scripted_top import Screen
from textual.widgets import RichLog

from arroyo.cli.commands.top import TopChain
from arroyo.cli.terminal.app import TopApp

SLOW = (
    listener("count", keys="window = 20"),
    operator("work", "Pass", ["count"]),
    operator("slow", "Pass", ["work"], keys="replicas = 2", every_s=0.02),
    publisher("write", ["slow"]),
)


def test_the_slow_stage_is_named_and_the_rates_are_its(make_chain):
    chain = make_chain(*SLOW)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    watch = chain.start("arroyo", "status", chain.path, "--watch", "200 ms")
    watch.wait_for("slow holds the chain up: 2 of 2 replicas busy")
    watch.wait_for(" > slow x2 <  READY ", 5)
    assert "count waits" in watch.text or "work waits" in watch.text
    (rate,) = [line for line in watch.lines if "> write" in line][-1:]
    assert 20 <= float(rate.split()[3]) <= 200
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    watch.wait_for("chain numbers: not running; waiting for it")


def test_top_names_the_slow_stage_and_its_keys_lose_nothing(make_chain, monkeypatch):
    chain = make_chain(*SLOW)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    for variable in ("ARROYO_RUN_DIR", "ARROYO_STATE_DIR"):
        monkeypatch.setenv(variable, chain.environ[variable])

    async def see():
        app = TopApp(TopChain(str(chain.path)), every_s=0.2)
        async with app.run_test(size=(120, 30), notifications=True) as pilot:
            screen = Screen(app, pilot)
            blamed = "slow holds the chain up: 2 of 2 replicas busy"
            await screen.until(lambda: screen.text("verdict").startswith(blamed))
            await screen.press("j", "j", "r", "y")
            await screen.until(lambda: "restarting, on a restart command" in supervisor.text)
            await screen.until(lambda: "slow holds the chain up" in screen.text("verdict"))
            await screen.ask_for_a_number()
            await screen.press("1", "enter")
            await screen.until(lambda: chain.states()["slow.1"] == "STOPPED")
            await screen.press("x", "y")
            await screen.until(lambda: chain.states()["slow.0"] == "STOPPED")
            await screen.press("g", "y")
            await screen.until(lambda: chain.states()["slow.0"] == "READY")
            await screen.press("l")
            log = screen.app.screen.query_one(RichLog)
            await screen.until(lambda: any("slow.1" in line.text for line in log.lines))

    asyncio.run(see())
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    delivered = indices(chain.lines())
    assert sorted(delivered) == list(range(len(delivered)))
