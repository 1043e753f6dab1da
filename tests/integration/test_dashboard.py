"""`arroyo dashboard`: of a real chain, and as a browser shows it."""

import asyncio
import http.client
import json
import os
import signal
import threading
from contextlib import contextmanager

import pytest
from chains import PROGRAMS, indices, kill, listener, operator, publisher, wait_until
from chromium import PROGRAM, chromium
from installed import require
from log_lines import log_line
from quarantine_entries import make_entry
from scrapes import get
from scripted_top import ScriptedChain

from arroyo.codec import MessageCodec
from arroyo.config.folders import Folders
from arroyo.config.http_address import HttpAddress
from arroyo.dashboard import chain_page
from arroyo.dashboard.chain_page import ChainPage
from arroyo.messages import Event
from arroyo.runner.quarantine.store import Quarantine
from arroyo.web.access_token import AccessToken
from arroyo.web.http_server import HttpServer

SLOW = (
    listener("count", keys="window = 20"),
    operator("work", "Pass", ["count"]),
    operator("slow", "Pass", ["work"], keys="replicas = 2", every_s=0.02),
    publisher("write", ["slow"]),
)


def start(chain):
    """Start `arroyo dashboard`; return it, its address, and the header that has its token."""
    dashboard = chain.start("arroyo", "dashboard", chain.path, "--listen", "127.0.0.1:0")
    dashboard.wait_for("until Ctrl-C")
    return dashboard, *seen_at(dashboard.text)


def seen_at(text):
    """Return the address that is printed, and the headers with its token."""
    address, token = text.partition("http://")[2].split()[0].split("/#")
    return address, {"Authorization": f"Bearer {token}"}


@contextmanager
def views_from(address, known):
    """Open the stream; give a function that waits for the next view."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/stream", headers=known)
    answer = connection.getresponse()

    def next_view():
        line = answer.readline()
        while not line.startswith(b"data: "):
            assert line, "the stream has ended"
            line = answer.readline()
        return json.loads(line.removeprefix(b"data: "))

    try:
        yield next_view
    finally:
        connection.close()


def test_the_slow_stage_is_named_and_the_death_of_the_page_is_noticed_by_nobody(make_chain):
    chain = make_chain(*SLOW)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    dashboard, address, known = start(chain)
    with views_from(address, known) as next_view:
        view = next_view()
        while not view["verdict"].startswith("slow holds the chain up: 2 of 2 replicas busy"):
            view = next_view()
        (slow,) = [stage for stage in view["stages"] if stage["is_bottleneck"]]
        assert slow["name"] == "slow"
        pids = [dict(each[:2] for each in row["figures"])["pid"] for row in slow["replicas"]]
        assert pids == [str(chain.pids()[name]) for name in ("slow.0", "slow.1")]
    events = json.loads(get(address, "/events", **known)[1])
    assert "chain-ready" in [event["event"] for event in events]
    logs = json.loads(get(address, "/logs?of=slow", **known)[1])
    assert {line["of"] for line in logs} == {"slow.0", "slow.1"}
    assert get(address, "/", Host="evil.example", **known)[0] == 421
    assert get(address, "/events", Origin="http://127.0.0.1:1", **known)[0] == 403
    assert get(address, "/events")[0] == 401

    kill(dashboard.pid)
    dashboard.wait()
    before = len(chain.lines())
    wait_until(lambda: len(chain.lines()) > before, lambda: "the chain stands still")
    dashboard, address, known = start(chain)
    with views_from(address, known) as next_view:
        supervisor.send(signal.SIGINT)
        assert supervisor.wait() == 0, chain.text()
        while next_view()["runs"]:
            pass
        dashboard.send(signal.SIGTERM)  # with a page that is open
        assert dashboard.wait() == 0
    delivered = indices(chain.lines())
    assert sorted(delivered) == list(range(len(delivered)))


PAGE = f"""
[stages.page]
command = ["{PROGRAMS / "arroyo"}", "dashboard", "chain.toml", "--listen", "127.0.0.1:0"]
ready = {{ log = "is shown at" }}
"""


def test_as_a_program_of_the_chain_it_starts_and_ends_with_it(make_chain):
    chain = make_chain(*SLOW, PAGE)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    said = []

    def is_told():
        said[:] = [chain.command("logs", "numbers", "page")]
        return "is shown at" in said[0]

    wait_until(is_told, lambda: said)
    address, known = seen_at(said[0])
    with views_from(address, known) as next_view:
        assert "page" in [stage["name"] for stage in next_view()["stages"]]
        supervisor.send(signal.SIGINT)
        assert supervisor.wait() == 0, chain.text()
    assert not chain.pids()


@pytest.fixture
def page(tmp_path):
    """What chromium shows."""
    require("" if PROGRAM else "chromium is not installed (Debian: apt-get install chromium)")
    with chromium(tmp_path / "chromium") as opened:
        yield opened


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """A chain with a slow stage, whose logs and messages are written as if to attack the page."""
    found = ScriptedChain()
    monkeypatch.setattr(chain_page, "LiveChain", lambda *_: found)
    monkeypatch.setattr(chain_page, "EVERY_S", 0.1)
    folders = Folders.locate("chain", os.environ)
    folders.create()
    hostile = "<img src=x onerror=alert(1)>"
    folders.run.log("integrate.0").write_bytes(
        log_line("WARNING", f"dark {hostile}") + log_line("INFO", "bright")
    )
    entry = make_entry("00aa", reason=f"raised {hostile}", stack="Traceback of it")
    packed = MessageCodec(()).pack(Event({"note": hostile}, b""))
    Quarantine(folders.state.quarantine).put(entry, packed)
    return found


TOKEN = AccessToken()


@contextmanager
def served(port=0, token=TOKEN):
    """Serve the scripted chain, and give the port."""
    answering = ChainPage(None, os.environ, token).answer
    told, ended = [], []

    async def run():
        until = asyncio.Event()
        ended.append((asyncio.get_running_loop(), until))
        server = HttpServer(HttpAddress("127.0.0.1", port), answering)
        await server.run(until, lambda address: told.append(address.port))

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    wait_until(lambda: told, lambda: "it does not serve")
    try:
        yield told[0]
    finally:
        loop, until = ended[0]
        loop.call_soon_threadsafe(until.set)
        thread.join()


def open_page(page, port):
    page.open(f"http://127.0.0.1:{port}/#{TOKEN.text}")


def text_of(selector):
    return f"document.querySelector({selector!r})?.textContent ?? ''"


def shows(selector, words):
    return f"({text_of(selector)}).includes({words!r})"


def test_a_browser_shows_the_chain_and_takes_nothing_from_it_as_html(page, scripted):
    with served() as port:
        open_page(page, port)
        page.wait_until(shows("#verdict", "integrate holds the chain up"))
        assert page.value(text_of(".bottleneck h2")) == "integrate"
        assert page.value(text_of(".bottleneck .blame")) == "◀ holds the chain up"
        assert page.value("document.querySelectorAll('.stage').length") == 4
        assert page.value("document.querySelectorAll('.links path').length") == 3
        page.wait_until(shows("#quarantine", "raised <img src=x onerror=alert(1)>"))
        page.value("document.querySelector('#quarantine summary').click()")
        page.wait_until(shows("#quarantine pre", "Traceback of it"))
        assert page.value(shows("#quarantine pre", '"note": "<img src=x'))

        page.value("document.querySelector('.bottleneck button').click()")
        page.wait_until(shows("#logs", "bright"))
        assert page.value(shows("#logs", "dark <img src=x onerror=alert(1)>"))
        choose = "const level = document.getElementById('logs-level'); level.value = 'WARNING';"
        page.value(f"{choose} level.dispatchEvent(new Event('change'))")
        page.wait_until(f"!{shows('#logs', 'bright')}")
        assert page.value("document.querySelectorAll('img').length") == 0

        scripted.state = "STOPPED"
        page.wait_until(shows("#head", "not running; waiting for it"))
        scripted.state, scripted.trouble = "READY", "the chain belongs to another user"
        page.wait_until(shows("#alert", "the chain belongs to another user; trying again"))
        assert page.complaints == []
        assert {url.partition("//")[2].partition("/")[0] for url in page.requests} == {
            f"127.0.0.1:{port}"
        }


def test_a_browser_says_that_the_page_has_no_news_and_goes_on_with_it(page, scripted):
    with served() as port:
        open_page(page, port)
        page.wait_until(shows("#verdict", "integrate"))
    page.wait_until(shows("#alert", "No news from arroyo dashboard since"))
    with served(port):
        page.wait_until("document.getElementById('alert').hidden")
    with served(port, AccessToken()):  # as by another user, who gets a token that is worth nothing
        page.wait_until(shows("#alert", "this needs the token of the address"))


def test_a_browser_shows_nothing_without_the_token_and_the_token_in_no_address(page, scripted):
    with served() as port:
        page.open(f"http://127.0.0.1:{port}/")
        page.wait_until(shows("#alert", "this needs the token of the address"))
        assert page.value(text_of("#graph")) == ""
        open_page(page, port)
        page.wait_until(shows("#verdict", "integrate holds the chain up"))
        assert page.value("location.href") == f"http://127.0.0.1:{port}/"
        page.value("window.isOld = true")
        page.open(f"http://127.0.0.1:{port}/")  # the tab knows the token
        page.wait_until(f"!window.isOld && {shows('#verdict', 'integrate holds the chain up')}")
        assert not [url for url in page.requests if TOKEN.text in url.partition("#")[0]]


def test_it_can_be_used_by_keys_and_heard(page, scripted):
    with served() as port:
        open_page(page, port)
        page.wait_until(shows("#blamed", "integrate holds the chain up"))
        focused = "document.activeElement.textContent"
        for _ in range(20):
            page.press("Tab")
            if page.value(focused) == "integrate":
                break
        page.press("Enter")
        page.wait_until(shows("#logs", "bright"))
        assert page.value("document.activeElement.id") == "logs"
        told = page.accessible()
        unnamed = [role for role, name, focusable in told if focusable and not name]
        assert unnamed == []
        assert ("article", "stage integrate", False) in told
        assert ("status", "", False) in told
        shares = [name for role, name, _ in told if role == "image" and "blocked" in str(name)]
        assert "blocked 70 %" in " ".join(shares)


def luminance(colour):
    """How light ``#rrggbb`` is, of 1 (WCAG 2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off_and_texts_stand_out(page, scripted, dark):
    with served() as port:
        page.look(width=390, height=800, dark=dark)
        open_page(page, port)
        page.wait_until(shows("#verdict", "integrate"))
        assert page.value("document.documentElement.scrollWidth") <= 390

    def colour(name):
        styles = "getComputedStyle(document.documentElement)"
        return luminance(page.value(f"{styles}.getPropertyValue('--{name}').trim()"))

    assert (colour("ground") < 0.1) == dark
    for text in ("text", "weak", "good", "warn", "bad", "busy", "accent"):
        for ground in ("ground", "box"):
            lighter, darker = sorted((colour(text), colour(ground)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{text} on {ground}"
