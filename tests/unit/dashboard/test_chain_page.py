import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import msgspec
import pytest
from quarantine_entries import make_entry

from arroyo.codec import MessageCodec
from arroyo.config.folders import Folders
from arroyo.dashboard.chain_page import EVENTS, LOG_LINES, ChainPage
from arroyo.errors import ConfigurationError
from arroyo.messages import Event
from arroyo.runner.quarantine.store import Quarantine
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.logs import LogLine
from arroyo.web.access_token import AccessToken
from arroyo.web.http_request import Later, Request, Stream

CHAIN = '[chain]\nname = "small"\n[stages.images]\nlistener = "module:Class"\nreplicas = 2\n'
TOKEN = AccessToken()
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


@pytest.fixture
def page(file):
    return ChainPage(file, os.environ, TOKEN)


@pytest.fixture
def folders():
    found = Folders.locate("small", os.environ)
    found.create()
    return found


def ask(page, path, **query):
    answer = page.answer(Request("GET", path, "localhost", "", query, TOKEN.text))
    return answer.status, answer.body.decode()


def ask_json(page, path, **query):
    status, text = ask(page, path, **query)
    assert status is HTTPStatus.OK, text
    return json.loads(text)


def write_log(folders, name, *lines):
    """Write a log; `lines`: seconds after noon, level, message, traceback."""
    text = b""
    for after_s, level, message, exception in lines:
        time = NOON + timedelta(seconds=after_s)
        line = LogLine(time, level, "own", "small", name, 7, message, exception)
        text += msgspec.json.encode(line) + b"\n"
    folders.run.log(name).write_bytes(text)


def test_a_chain_file_with_mistakes_is_told(file):
    file.write_text("[chain]\n")
    with pytest.raises(ConfigurationError):
        ChainPage(file, os.environ, TOKEN)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_the_files_of_the_page_are_served(page, path, content_type):
    answer = page.answer(Request("GET", path, "localhost", ""))
    assert answer.content_type.startswith(content_type)
    assert answer.body


@pytest.mark.parametrize("path", ["/stream", "/events", "/logs", "/quarantine", "/message", "/x"])
@pytest.mark.parametrize(
    "token", ["", "wrong", TOKEN.text[:-1], "é"], ids=["none", "wrong", "short", "accent"]
)
def test_without_the_token_there_is_nothing_of_the_chain(page, path, token):
    answer = page.answer(Request("GET", path, "localhost", "", {"of": "images"}, token))
    assert answer.status is HTTPStatus.UNAUTHORIZED
    assert b"the token of the address" in answer.body


def post(page, path, token=TOKEN.text):
    return page.answer(Request("POST", path, "localhost", "", {}, token, 2, b"{}"))


@pytest.mark.parametrize("path", ["/", "/stream", "/events", "/orders/drop", "/parameters"])
@pytest.mark.parametrize("takes_orders", [False, True])
def test_nothing_is_changed_without_the_token(file, path, takes_orders):
    page = ChainPage(file, os.environ, TOKEN, takes_orders=takes_orders)
    assert post(page, path, "wrong").status is HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("path", ["/", "/stream", "/events", "/orders/drop", "/parameters"])
def test_a_page_that_takes_no_orders_answers_to_none(page, path):
    assert post(page, path).status is HTTPStatus.NOT_FOUND
    assert ask(page, "/parameters")[0] is HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", ["/", "/stream", "/events", "/orders/else"])
def test_what_is_read_takes_no_orders(file, path):
    page = ChainPage(file, os.environ, TOKEN, takes_orders=True)
    assert post(page, path).status is HTTPStatus.NOT_FOUND


def test_an_order_is_carried_out_while_others_are_answered(file):
    page = ChainPage(file, os.environ, TOKEN, takes_orders=True)
    later = post(page, "/orders/drop")
    assert isinstance(later, Later)
    answer = asyncio.run(later.answer())
    assert (answer.status, answer.body) == (
        HTTPStatus.NOT_FOUND,
        b"name messages in quarantine by their ids\n",
    )


def test_all_that_the_page_names_is_served_from_here(page):
    _, html = ask(page, "/")
    for name in ("page.css", "page.js", "icon.svg"):
        assert f'="{name}"' in html
    for path in ("page", "asking", "colours", "elements", "frames", "graph", "orders", "panels"):
        status, script = ask(page, f"/{path}.js")
        assert status is HTTPStatus.OK
        assert "innerHTML" not in script
        assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    "path",
    ["/../chain.toml", "/static/page.js", "/page.js/../../chain.toml", "/%2e%2e/chain.toml", "//"],
)
def test_other_paths_lead_nowhere(page, path):
    assert ask(page, path)[0] is HTTPStatus.NOT_FOUND


def test_views_come_as_a_stream(page):
    answer = page.answer(Request("GET", "/stream", "localhost", "", {}, TOKEN.text))
    assert isinstance(answer, Stream)
    assert answer.content_type == "text/event-stream"


def test_a_chain_that_never_ran_has_no_events_no_logs_and_no_messages(page):
    assert ask_json(page, "/events") == []
    assert ask_json(page, "/quarantine") == []
    assert ask_json(page, "/logs", of="images") == []


def test_the_last_events_are_shown_oldest_first(page, folders):
    lines = [
        EventLine(NOON, "INFO", "own", "small", "images.0", 7, f"try {number}", event="started")
        for number in range(EVENTS + 5)
    ]
    folders.run.events.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in lines))
    shown = ask_json(page, "/events")
    assert [each["text"] for each in shown] == [f"try {number}" for number in range(5, EVENTS + 5)]
    assert (shown[0]["event"], shown[0]["of"]) == ("started", "images.0")


def test_the_logs_of_all_replicas_of_a_stage_are_one(page, folders):
    write_log(folders, "images.0", (1, "INFO", "first", None), (3, "INFO", "third", None))
    write_log(folders, "images.1", (2, "INFO", "second", None))
    write_log(folders, "supervisor", (2, "INFO", "other", None))
    shown = ask_json(page, "/logs", of="images")
    assert [(each["of"], each["text"]) for each in shown] == [
        *(("images.0", "first"), ("images.1", "second"), ("images.0", "third")),
    ]
    assert [each["text"] for each in ask_json(page, "/logs", of="images.1")] == ["second"]


def test_lines_below_a_level_are_left_out_before_they_are_counted(page, folders):
    quiet = [(second, "INFO", "well", None) for second in range(1, LOG_LINES + 9)]
    write_log(folders, "images.0", (0, "ERROR", "bad", "Traceback: …\n"), *quiet)
    assert len(ask_json(page, "/logs", of="images")) == LOG_LINES
    (shown,) = ask_json(page, "/logs", of="images", level="WARNING")
    assert shown["text"] == "bad\nTraceback: …"


@pytest.mark.parametrize("of", ["", "../../chain", "events", "images.0.jsonl"])
def test_there_are_no_other_logs(page, folders, of):
    write_log(folders, "images.0", (1, "INFO", "first", None))
    folders.run.events.write_bytes(b"")
    status, said = ask(page, "/logs", of=of)
    assert status is HTTPStatus.NOT_FOUND
    assert said == f"chain small has no stage or process {of!r}\n"


@pytest.fixture
def put(folders):
    store = Quarantine(folders.state.quarantine)
    codec = MessageCodec(())

    def put(number, event, **changes):
        store.put(make_entry(number, **changes), codec.pack(event))

    return put


def test_messages_in_quarantine_are_listed_and_shown_with_stack_and_content(page, put):
    put("00aa", Event({"index": 1}, b"123"), time=1.0)
    put("00bb", Event({"note": "<b>"}, b""), time=2.0, reason="<script>", stack="Traceback")
    newest, oldest = ask_json(page, "/quarantine")
    assert (newest["id"], newest["reason"], oldest["key"]) == ("00bb", "<script>", "src.0/run/00aa")
    shown = ask_json(page, "/message", id="00bb")
    assert (shown["stack"], shown["content"]["metadata"]) == ("Traceback", {"note": "<b>"})
    assert ask_json(page, "/message", id="00aa")["content"]["payload_bytes"] == 3


@pytest.mark.parametrize("number", ["", "../00aa", "00aa/../00aa", "00", "00aa\0"])
def test_there_are_no_other_messages(page, put, number):
    put("00aa", Event({"index": 1}, b"123"))
    assert ask(page, "/message", id=number)[0] is HTTPStatus.NOT_FOUND


def test_an_entry_that_is_damaged_is_one_sentence(page, put, folders):
    put("00aa", Event({"index": 1}, b"123"))
    (folders.state.quarantine / "00aa.json").write_bytes(b"{")
    status, said = ask(page, "/quarantine")
    assert status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "it is damaged" in said
