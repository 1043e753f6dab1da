"""Orders to a real chain, by a browser that shows its page."""

import json

import pytest
from chains import indices, listener, operator, publisher, wait_until
from chromium import PROGRAM, chromium
from installed import require

STAGES = '''
from pathlib import Path

from arroyo import Event, Operator


class Work(Operator):
    """Fails on message 3 until it is mended; tells its factor and its level."""

    level = 0

    def __init__(self, factor=1):
        self.factor = factor

    def set_parameters(self, parameters):
        if parameters["level"] < 0:
            raise ValueError("a level is not negative")
        self.level = parameters["level"]

    def process(self, message):
        if not isinstance(message, Event):
            return message
        if message.metadata["index"] == 3 and not Path("mended").exists():
            raise ValueError("no sense in <b>3</b>")
        return Event({**message.metadata, "factor": self.factor, "level": self.level})
'''


@pytest.fixture
def steered(make_chain, tmp_path):
    """A chain that runs, and a page of it from which it can be changed."""
    require("" if PROGRAM else "chromium is not installed (Debian: apt-get install chromium)")
    chain = make_chain(
        listener("count", every_s=0.002),
        operator(
            *("work", "work:Work", ["count"]),
            keys="replicas = 2\nparameters = { level = 5 }",
            factor=1,
        ),
        publisher("write", ["work"]),
    )
    (chain.folder / "work.py").write_text(STAGES)
    chain.supervise()
    chain.wait_until_ready()
    dashboard = chain.start(
        *("arroyo", "dashboard", chain.path, "--listen", "127.0.0.1:0", "--allow-control")
    )
    dashboard.wait_for("until Ctrl-C")
    with chromium(tmp_path / "chromium") as page:
        page.open(dashboard.text.partition(" at ")[2].split()[0])
        page.wait_until("document.querySelectorAll('.takes-orders .stage').length == 3")
        yield chain, page
        assert page.complaints == []


def click(page, selector, text):
    """Click a button by what it says at first, and once more when it asks whether really."""
    start = f"[...document.querySelectorAll({selector!r})].find((e) => e.innerText == {text!r})"
    page.wait_until(f"(window.wanted = {start}) && true")
    page.value("window.wanted.click()")
    page.wait_until("window.wanted.classList.contains('armed')")
    said = page.value("window.wanted.innerText")
    page.value("window.wanted.click()")
    return said


def open_orders(page, stage):
    page.value(f"document.querySelector('[aria-label=\"stage {stage}\"] .order').click()")
    page.wait_until("document.getElementById('orders').open")


def said(words):
    return f"document.querySelector('#orders [role=status]').textContent.includes({words!r})"


def ordered(chain, event):
    """Return who gave an order, by the event log; wait until it is there."""

    def found():
        lines = chain.command("events", chain.path, "--json").splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == event]

    wait_until(found, chain.text)
    return found()[-1]


def last(chain, key):
    events = [line["metadata"] for line in chain.lines() if line["type"] == "Event"]
    return {each[key] for each in events[-20:]}


def test_a_message_in_quarantine_is_looked_at_and_sent_again(steered):
    chain, page = steered
    page.wait_until("!!document.querySelector('#quarantine summary')")
    page.value("document.querySelector('#quarantine summary').click()")
    shown = "document.querySelector('#quarantine pre').textContent"
    page.wait_until(f"{shown}.includes('no sense in <b>3</b>')")
    assert page.value(f"{shown}.includes('\"index\": 3')")

    (chain.folder / "mended").touch()
    assert click(page, "#quarantine button", "Requeue").startswith("Really send ")
    wait_until(lambda: 3 in indices(chain.lines()), chain.text)
    page.wait_until("document.getElementById('quarantine').innerText == 'the quarantine is empty'")
    (dashboard,) = [each for each in chain.programs if "dashboard" in each.arguments]
    assert f"pid {dashboard.pid}," in ordered(chain, "requeue-ordered")["by"]


def test_all_messages_that_a_stage_failed_on_are_sent_again(steered):
    chain, page = steered
    page.wait_until("document.getElementById('quarantine-title').innerText == 'Quarantine: 1'")
    (chain.folder / "mended").touch()
    open_orders(page, "work")
    asked = click(page, "#orders button", "Requeue all")
    assert asked == "Really send 1 message of work again?"
    page.wait_until(said("1 of 1 go back"))
    wait_until(lambda: 3 in indices(chain.lines()), chain.text)


def test_a_message_in_quarantine_is_dropped(steered):
    chain, page = steered
    page.wait_until("!!document.querySelector('#quarantine summary')")
    page.value("document.querySelector('#quarantine summary').click()")
    click(page, "#quarantine button", "Drop")
    page.wait_until("document.getElementById('quarantine').innerText == 'the quarantine is empty'")
    assert "dropped from quarantine" in ordered(chain, "drop-ordered")["message"]


def test_a_stage_is_restarted_scaled_and_set(steered):
    chain, page = steered
    before = chain.pids()
    open_orders(page, "work")
    page.value("document.querySelector('#orders select').value = 'work.1'")
    assert click(page, "#orders button", "Restart") == "Really restart work.1?"
    page.wait_until(said("restarting work.1"))
    wait_until(lambda: chain.pids().get("work.1") not in {None, before["work.1"]}, chain.text)
    assert chain.pids()["work.0"] == before["work.0"]
    assert "restart" in ordered(chain, "restart-ordered")["message"]

    for number, state in ((1, "STOPPED"), (2, "READY")):
        page.value(f"document.querySelector('#orders [type=number]').value = {number}")
        assert click(page, "#orders button", "Scale") == f"Really have {number} of 2 work?"
        wait_until(lambda state=state: chain.states()["work.1"] == state, chain.text)
    page.wait_until(said("work: work.0, work.1"))

    for typed, outcome in (("-1", "a level is not negative"), ("8", "work: set")):
        page.wait_until("!!document.querySelector('#orders [name=level]')")
        page.value(f"document.querySelector('#orders [name=level]').value = '{typed}'")
        assert click(page, "#orders button", "Set") == f"Really set level = {typed}?"
        page.wait_until(said(outcome))
    wait_until(lambda: last(chain, "level") == {8}, chain.text)
    assert "level = 8" in ordered(chain, "parameter-set")["message"]


def test_the_chain_file_is_reloaded_once_the_plan_was_seen(steered):
    chain, page = steered
    before = chain.pids()
    text = chain.path.read_text()
    chain.path.write_text(text.replace("factor = 1", "factr = 1"))
    page.value("document.getElementById('reload').click()")
    page.wait_until(said("the file has mistakes, so nothing is changed"))
    assert "factr" in page.value("document.querySelector('.plan').innerText")

    chain.path.write_text(text.replace("factor = 1", "factor = 7"))
    page.value("document.getElementById('reload').click()")
    shown = "document.querySelector('.plan').innerText"
    page.wait_until(f"{shown}.includes('by a restart: stages.work.options.factor')")
    assert chain.pids() == before
    assert click(page, "#orders button", "Reload") == "Really carry out this plan?"
    page.wait_until(said("reloaded"))
    wait_until(lambda: last(chain, "factor") == {7}, chain.text)
    assert "stages.work.options.factor" in ordered(chain, "reload-ordered")["message"]
