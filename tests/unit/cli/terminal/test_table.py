"""The rows of `arroyo top`, and which one is selected."""


def test_more_stages_than_lines_are_reached_by_moving_down(top, top_chain):
    async def see(screen):
        assert screen.names()[0] == "images"
        assert "> patterns" not in screen.names()
        await screen.press("end")
        assert screen.selected == "> patterns"
        assert "> patterns" in screen.names()
        await screen.press("home")
        assert screen.names()[0] == screen.selected == "images"

    top(see, size=(80, 8))


def test_the_selection_moves_and_shows_the_links_of_the_stage(top):
    async def see(screen):
        assert screen.selected == "images"
        await screen.press("j", "down")
        assert screen.selected == "> integrate x2 <"
        await screen.until(lambda: "rebin 100/s -> integrate" in screen.text("links"))
        await screen.press("k", "up", "up")
        assert screen.selected == "images"

    top(see)


def test_the_selection_stays_with_its_stage_when_the_order_changes(top):
    async def see(screen):
        await screen.press("end")
        await screen.press(*["s"] * 4)
        await screen.until(lambda: screen.names()[0] == "> patterns")
        assert "sorted by CPU" in screen.text("head")
        assert screen.selected == "> patterns"
        await screen.press("s", "s")
        assert screen.names()[0] == "images"
        assert "sorted" not in screen.text("head")

    top(see)
