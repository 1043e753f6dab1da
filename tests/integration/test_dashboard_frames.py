"""Frames of a real chain, as a browser shows them."""

import json
import re

import numpy as np
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


NUMBER = "Number(document.querySelector('#frames canvas').dataset.number)"
REGION = "document.querySelector('#frames canvas').dataset.region"


def value_of(column, row, index):
    """What the listener has put there."""
    return 65535 if row < 100 else (row * 7 + column * 13 + index) % 60000


def freeze(page):
    """Look at one frame; return its index, as its listener counts."""
    look(page, "images")
    page.wait_until(f"{NUMBER} > 5")
    page.value(f"{part('freeze')}.click()")
    page.wait_until(f"{part('facts')}.innerText.includes('100000 masked or saturated')")
    return index_of(page)


def index_of(page):
    return int(re.search(r'"index":(\d+)', page.value(f"{part('facts')}.innerText"))[1])


def box(page):
    canvas = "document.querySelector('#frames canvas').getBoundingClientRect()"
    found = json.loads(page.value(f"JSON.stringify({canvas})"))
    return found["x"], found["y"], found["width"], found["height"]


def mouse(page, kind, across, down, **how):
    """Have the mouse at a part of the canvas' width and height."""
    left, top, wide, high = box(page)
    place = {"x": left + across * wide, "y": top + down * high}
    page.send("Input.dispatchMouseEvent", type=f"mouse{kind}", **place, **how)


def drag(page, start, end):
    held = {"button": "left", "buttons": 1}
    mouse(page, "Moved", *start)
    mouse(page, "Pressed", *start, **held, clickCount=1)
    mouse(page, "Moved", *end, **held)
    mouse(page, "Released", *end, **held, clickCount=1)


def told_under(page, across, down, pixel):
    """The frame's number, the pixel and its value, as the page tells of a place."""

    def told():
        found = list(map(int, re.findall(r"\d+", page.value(f"{part('under')}.innerText"))))
        return found if found[1:3] == pytest.approx(pixel, abs=4) else []

    mouse(page, "Moved", across, down)
    wait_until(told, lambda: f"{pixel} is not told but {told()}")
    return told()


def test_the_value_under_the_cursor_is_that_of_the_frame_however_it_lies(seen):
    _, page = seen
    index = freeze(page)
    canvas = "document.querySelector('#frames canvas')"
    for button, shape, lies in (
        ("", "500,600", lambda x, y: (x, y)),
        ("turn", "600,500", lambda x, y: (y, 1 - x)),
        ("flip", "600,500", lambda x, y: (y, x)),
        ("turn", "500,600", lambda x, y: (1 - x, y)),
    ):
        if button:
            page.value(f"{part(button)}.click()")
        page.wait_until(f"{canvas}.width + ',' + {canvas}.height == '{shape}'")
        for place in ((0.1, 0.9), (0.77, 0.31), (0.5, 0.02)):
            across, down = lies(*place)
            pixel = 1000 * across, 1200 * down
            number, column, row, value = told_under(page, *place, pixel)
            assert number == page.value(NUMBER)
            assert value == value_of(column, row, index)


def test_a_marked_region_is_summed_in_each_frame(seen):
    _, page = seen
    freeze(page)
    page.value(f"{part('marks')}.click()")
    drag(page, (0.6, 0.7), (0.2, 0.5))
    told = r"frame (\d+), x (\d+) to (\d+), y (\d+) to (\d+): sum (\d+)"
    marked = f"{part('marked')}.innerText"
    page.wait_until(f"/x 200 .*: sum/.test({marked})")
    _, *corners, total = map(int, re.search(told, page.value(marked)).groups())
    assert corners == pytest.approx([200, 600, 600, 840], abs=4)
    left, right, top, bottom = corners
    rows, columns = np.mgrid[top : bottom + 1, left : right + 1]
    assert total == ((rows * 7 + columns * 13 + index_of(page)) % 60000).sum()
    assert "mean along x" in page.value(marked) and "mean along y" in page.value(marked)
    page.value(f"{part('freeze')}.click()")
    page.wait_until(f"/sum in the last ([3-9]|\\d\\d) frames/.test({marked})")
    assert re.search(r"\d+ before it not shown", page.value(f"{part('facts')}.innerText"))
    page.value(f"{part('marks')}.click()")
    page.wait_until(f"{part('marked')}.hidden")


def test_what_is_zoomed_into_follows_the_mouse(seen):
    _, page = seen
    freeze(page)
    mouse(page, "Moved", 0.5, 0.5)
    mouse(page, "Wheel", 0.5, 0.5, deltaX=0, deltaY=-100)
    page.wait_until(f"{REGION} != '0,0,1000,1200'")
    x, y, wide, high = map(int, page.value(REGION).split(","))
    drag(page, (0.5, 0.5), (0.4, 0.6))
    page.wait_until(f"{REGION} != '{x},{y},{wide},{high}'")
    moved = list(map(int, page.value(REGION).split(",")))
    assert moved == pytest.approx([x + wide / 10, y - high / 10, wide, high], abs=3)


def test_frames_are_frozen_stepped_and_zoomed_and_curves_are_drawn(seen):
    _, page = seen
    number, region = NUMBER, REGION
    look(page, "images")
    page.wait_until(f"{number} > 5")
    assert "greatest of 2 x 2 pixels" in page.value(f"{part('facts')}.innerText")
    page.value(f"{part('back')}.click()")
    page.wait_until(f"{part('freeze')}.checked")
    last = page.value(number)
    page.value(f"{part('back')}.click()")
    page.wait_until(f"{number} < {last}")
    wheel = "new WheelEvent('wheel', {deltaY: -1, clientX: 300, clientY: 900})"
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
