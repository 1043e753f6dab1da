"""The transcripts on the page about running a chain are what commands print today."""

import transcripts
from transcripts import commands_of, record, render, shape

HOW = "run scripts/transcripts.py, and read what has changed"


def test_the_page_shows_what_commands_print():
    page = transcripts.PAGE.read_text("utf-8")
    commands = commands_of(page)
    fresh = render(page, record(commands))
    # Processes that start at the same time say so in any order.
    for command, old, new in zip(commands, blocks(page), blocks(fresh), strict=True):
        assert old == new, f"{command}: {HOW}"


def blocks(page):
    """The lines of each transcript, as far as they are the same each time."""
    return [set(shape(block.partition("```\n")[0]).splitlines()) for block in parts(page)]


def parts(page):
    return page.split("<!-- transcript -->\n```\n")[1:]


def test_figures_and_widths_make_no_difference():
    assert shape("integrate.0  READY  18 MiB  1.25 ms  -") == shape(
        "integrate.1 READY 9 MiB 3 s  0"
    )
    assert shape("ready") != shape("read")
