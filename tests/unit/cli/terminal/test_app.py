"""The screen of `arroyo top`: what it shows of a chain."""

import asyncio
import contextlib

import pytest
from scripted_top import DEADLINE_S, EVERY_S

from arroyo.cli.terminal.app import TopApp


def test_the_slow_stage_is_named_with_rates_and_shares(top):
    async def see(screen):
        assert screen.text("head") == "chain chain: READY (supervisor 17)"
        await screen.until(lambda: screen.text("verdict").startswith("integrate"))
        assert screen.text("verdict") == (
            "integrate holds the chain up: 2 of 2 replicas busy 90 %; rebin waits 70 % of the time"
        )
        assert screen.names() == ["images", "> rebin", "> integrate x2 <", ".0", ".1", "> patterns"]
        row = screen.rows[screen.names().index(".0")].split()
        assert row[:3] == [".0", "READY", "50"]
        assert "90 %" in " ".join(row)

    top(see)


def test_it_fits_on_a_small_terminal_and_follows_a_new_size(top):
    async def see(screen):
        assert max(map(len, screen.rows)) <= 80
        assert "last minute" not in screen.text("titles")
        await screen.pilot.resize_terminal(160, 40)
        await screen.until(lambda: "last minute" in screen.text("titles"))
        await screen.pilot.resize_terminal(30, 10)
        await screen.until(lambda: "busy" not in screen.text("titles"))
        assert screen.rows[0].startswith("images")

    top(see, size=(80, 24))


def test_only_stages_with_a_part_of_a_name_may_be_shown(top):
    async def see(screen):
        await screen.press("slash", *"at")
        assert screen.names() == ["> integrate x2 <", ".0", ".1", "> patterns"]
        await screen.press("q")
        assert screen.names() == []
        assert screen.text("links") == ""
        await screen.press("backspace", "enter", "j")
        assert screen.selected == ".0"
        assert screen.text("head").endswith("; only stages with 'at'")
        await screen.press("escape")
        assert screen.names()[0] == "images"
        assert screen.selected == ".0"

    top(see)


def test_what_is_shown_is_kept_during_a_pause(top, top_chain):
    async def see(screen):
        await screen.press("p")
        assert screen.text("head").endswith("; PAUSED")
        shown, seconds = screen.rows, top_chain.seconds
        top_chain.state = "STOPPED"
        await screen.until(lambda: top_chain.seconds > seconds + 3)
        assert screen.rows == shown
        await screen.press("p")
        await screen.until(lambda: "not running" in screen.text("head"))

    top(see)


def test_a_chain_may_stop_and_come_again(top, top_chain):
    async def see(screen):
        top_chain.state = "STOPPED"
        await screen.until(lambda: screen.text("head").endswith("not running; waiting for it"))
        assert screen.text("verdict") == ""
        top_chain.state = "READY"
        await screen.until(lambda: "READY" in screen.text("head"))

    top(see)


def test_trouble_with_looking_is_told_and_looked_again(top, top_chain):
    async def see(screen):
        top_chain.trouble = "can't see chain powder: its run directory belongs to root"
        await screen.until(lambda: "belongs to root; trying again" in screen.text("verdict"))
        assert screen.rows
        top_chain.trouble = None
        await screen.until(lambda: "trying again" not in screen.text("verdict"))

    top(see)


def test_trouble_from_the_first_look_on_is_told_too(top, top_chain):
    async def see(screen):
        await screen.until(lambda: screen.text("head") == "no such chain; trying again")
        await screen.press("l", "r", "x", "g", "n", "h", "down", "end")
        assert top_chain.asked == []

    top_chain.trouble = "no such chain"
    top(see)


def test_where_nothing_is_blocked_that_is_said(top, top_chain):
    async def see(screen):
        await screen.until(lambda: screen.text("verdict") == "no stage holds the chain up")
        assert not screen.app.screen.query_one("#verdict").has_class("blames")

    top_chain.slow = False
    top(see)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_is_left_by_a_key(top_chain, key):
    async def main():
        app = TopApp(top_chain, every_s=EVERY_S)
        async with app.run_test() as pilot:
            with contextlib.suppress(asyncio.CancelledError):
                await pilot.press(key)
            async with asyncio.timeout(DEADLINE_S):
                while app.is_running:
                    await asyncio.sleep(0.01)

    asyncio.run(main())
