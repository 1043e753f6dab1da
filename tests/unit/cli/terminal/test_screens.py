"""What the keys of `arroyo top` open: a question, history, logs, help."""

from textual.widgets import RichLog

from arroyo.errors import UsageError


def test_a_stage_is_restarted_only_after_a_yes(top, top_chain):
    async def see(screen):
        await screen.press("j", "j", "j", "r")
        assert "Restart integrate.0?" in screen.text("question")
        await screen.press("n")
        await screen.press("r", "escape")
        await screen.press("r", "q")
        assert top_chain.asked == []
        await screen.press("r", "y")
        await screen.until(lambda: top_chain.asked == [("restart", "integrate.0")])
        await screen.until(lambda: said(screen) == ["restarting integrate.0"])

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
        assert "follow the logs of what is selected" in screen.text("text")
        await screen.press("escape")
        assert screen.names()

    top(see)
