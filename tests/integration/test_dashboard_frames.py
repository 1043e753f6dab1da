"""Frames of a real chain, as a browser shows them."""

import json
import re

import pytest
from chains import publisher, wait_until
from chromium import PROGRAM, chromium
from installed import require

STAGES = """
import threading

import numpy as np

from arroyo import Event, Listener, Operator


class Images(Listener):
    def start(self):
        rows, columns = np.mgrid[:1200, :1000]
        self.stopping = threading.Event()
        index = 0
        while not self.stopping.wait(0.02):
            image = ((rows * 7 + columns * 13 + index) % 60000).astype("<u2")
            image[:100] = 65535
            self.operator.process(Event.from_array(image, index=index))
            index += 1

    def stop(self):
        self.stopping.set()


class Sums(Operator):
    def process(self, message):
        if isinstance(message, Event):
            return Event.from_array(message.array[100:].sum(axis=0, dtype="f8"), **message.metadata)
        return message
"""
TABLES = (
    '[stages.images]\nlistener = "own:Images"\n',
    '[stages.sums]\noperator = "own:Sums"\ninputs = ["images"]\n',
)


@pytest.fixture
def seen(make_chain, tmp_path):
    """The page of a chain of images, and of sums of their columns."""
    require("" if PROGRAM else "chromium is not installed (Debian: apt-get install chromium)")
    chain = make_chain(*TABLES, publisher("write", ["sums"]))
    (chain.folder / "own.py").write_text(STAGES)
    chain.supervise()
    chain.wait_until_ready()
    dashboard = chain.start("arroyo", "dashboard", chain.path, "--listen", "127.0.0.1:0")
    dashboard.wait_for("until Ctrl-C")
    with chromium(tmp_path / "chromium") as page:
        page.look(width=1200, height=1600)
        page.open(dashboard.text.partition(" at ")[2].split()[0])
        page.wait_until("document.querySelectorAll('.stage').length == 3")
        yield chain, page
        assert page.complaints == []
    wait_until(lambda: not list(chain.run_directory.path.glob("tap/*")), chain.text)


def look(page, stage):
    page.value(f"document.querySelector('[aria-label=\"stage {stage}\"] .look').click()")
    page.wait_until(f"document.getElementById('frames-title').innerText == 'Frames of {stage}'")


def part(name):
    return f"document.querySelector('[data-part={name}]')"


def test_the_value_under_the_cursor_is_that_of_the_frame(seen):
    _, page = seen
    look(page, "images")
    page.wait_until("Number(document.querySelector('#frames canvas').dataset.number) > 5")
    page.value(f"{part('freeze')}.click()")
    page.wait_until(f"{part('facts')}.innerText.includes('100000 masked or saturated')")
    box = json.loads(
        page.value(
            "JSON.stringify(document.querySelector('#frames canvas').getBoundingClientRect())"
        )
    )
    for across, down in ((0.1, 0.9), (0.77, 0.31), (0.5, 0.02)):
        x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
        page.value(f"{part('under')}.textContent = ''")
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        told = page.wait_until(f"{part('under')}.innerText")
        number, column, row, value = map(int, re.findall(r"\d+", told))
        assert abs(column - 1000 * across) <= 4 and abs(row - 1200 * down) <= 4, told
        facts = page.value(f"{part('facts')}.innerText")
        assert number == page.value(
            "Number(document.querySelector('#frames canvas').dataset.number)"
        )
        index = int(re.search(r'"index":(\d+)', facts)[1])
        expected = 65535 if row < 100 else (row * 7 + column * 13 + index) % 60000
        assert value == expected, (told, facts)


def test_frames_are_frozen_stepped_and_zoomed_and_curves_are_drawn(seen):
    _, page = seen
    number = "Number(document.querySelector('#frames canvas').dataset.number)"
    look(page, "images")
    page.wait_until(f"{number} > 5")
    assert "greatest of 2 x 2 pixels" in page.value(f"{part('facts')}.innerText")
    page.value(f"{part('back')}.click()")
    page.wait_until(f"{part('freeze')}.checked")
    last = page.value(number)
    page.value(f"{part('back')}.click()")
    page.wait_until(f"{number} < {last}")
    wheel = "new WheelEvent('wheel', {deltaY: -1, clientX: 300, clientY: 900})"
    region = "document.querySelector('#frames canvas').dataset.region"
    for _ in range(2):
        before = page.value(region)
        page.value(f"document.querySelector('#frames canvas').dispatchEvent({wheel})")
        page.wait_until(f"{region} != {before!r}")
    page.wait_until(f"!{part('facts')}.innerText.includes('greatest of')")
    page.value(f"{part('fit')}.click()")
    page.wait_until(f"{part('facts')}.innerText.includes('greatest of 2 x 2 pixels')")
    page.value(f"{part('freeze')}.click()")
    page.wait_until(f"{number} > {last}")

    look(page, "sums")
    page.wait_until(f"{part('facts')}.innerText.includes('<f8 1000')")
    assert page.value("document.querySelector('#frames canvas').height") == 300
    page.value(f"{part('close')}.click()")
