"""What the keys of `arroyo top` open: a question, history, logs, help."""

import pytest
from textual.widgets import RichLog

from arroyo.errors import UsageError


@pytest.mark.parametrize(
    ("key", "order", "question", "told"),
    [
        ("r", "restart", "Restart rebin?", "restarting rebin"),
        ("x", "stop", "Stop rebin?", "stopping rebin"),
        ("g", "start", "Start rebin?", "starting rebin"),
    ],
)
def test_each_order_is_given_only_after_a_yes(top, top_chain, key, order, question, told):
    async def see(screen):
        await screen.press("j", key)
        assert screen.text("question").startswith(question)
        await screen.press("n")
        await screen.press(key, "escape")
        assert top_chain.asked == []
        await screen.press(key, "y")
        await screen.until(lambda: said(screen) == [told])
        assert top_chain.asked == [(order, "rebin")]

    top(see)


def test_a_stage_is_scaled_to_a_number_that_is_typed(top, top_chain):
    async def see(screen):
        await screen.press("j", "j", "j")  # a replica: it is for its stage
        await screen.ask_for_a_number()
        assert screen.text("question").startswith(
            "How many of the 2 processes of integrate are to work? 2 do now."
        )
        await screen.press("escape")
        await screen.ask_for_a_number()
        await screen.press("3", "enter", "backspace", "0", "enter", "backspace", "enter")
        assert top_chain.asked == [], "there are two at most, and one at least"
        assert "How many" in screen.text("question")
        await screen.press("1", "enter")
        await screen.until(lambda: said(screen) == ["integrate: 1"])
        assert top_chain.asked == [("scale", "integrate", 1)]

    top(see)


def said(screen):
    return [notification.message for notification in screen.app._notifications]


def test_a_restart_that_is_refused_is_told(top, top_chain):
    async def see(screen):
        await screen.press("r", "y")
        await screen.until(lambda: said(screen) == ["no supervisor answers"])

    top(see)


def test_the_history_of_a_stage_is_one_key_away(top, top_chain):
    async def see(screen):
        await screen.press("j", "h")
        await screen.until(lambda: screen.text("text") == "rebin took batch [7]")
        assert screen.text("title").startswith("History of rebin")
        await screen.press("escape")
        await screen.press("k", "h")
        await screen.until(lambda: screen.text("text") == "images.0 does not answer")
        await screen.press("q")
        assert screen.names()

    top(see)


def test_logs_are_followed_until_they_are_left(top, top_chain):
    async def see(screen):
        await screen.press("j", "l")
        log = screen.app.screen.query_one(RichLog)
        await screen.until(lambda: len(log.lines) == 2)
        assert [line.text.rstrip() for line in log.lines] == [
            "rebin.0  ready",
            "rebin.0  took [0] and [1]",
        ]
        await screen.press("f")
        assert not log.auto_scroll
        await screen.press("f")
        assert log.auto_scroll
        await screen.press("escape")
        await screen.until(lambda: top_chain.opened.closed)
        assert top_chain.asked == [("logs", "rebin")]

    top(see)


def test_logs_that_can_not_be_opened_are_told(top, top_chain):
    def refuse(name):
        raise UsageError(f"chain powder has no logs of {name}")

    async def see(screen):
        await screen.press("l")
        log = screen.app.screen.query_one(RichLog)
        await screen.until(lambda: log.lines)
        assert "no logs of images" in log.lines[0].text

    top_chain.logs = refuse
    top(see)


def test_the_keys_are_explained(top):
    async def see(screen):
        await screen.press("question_mark")
        for key in ("r", "x", "g", "n", "l", "h"):
            assert f"\n{key}   " in screen.text("text")
        await screen.press("escape")
        assert screen.names()

    top(see)
