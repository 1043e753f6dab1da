from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.web.http_request import (
    BODY_BYTES,
    END,
    ORDERING,
    Answer,
    Request,
    Stream,
    parse_request,
    refuse_host,
    render,
    render_head,
)


def head(*lines):
    return "\r\n".join(lines).encode("latin-1") + END


def test_a_request_of_a_scraper_is_read():
    scraper = head("GET /metrics?x=1 HTTP/1.1", "Host: 127.0.0.1:9464", "accept: text/plain ")
    wanted = Request("GET", "/metrics", "127.0.0.1", "text/plain", {"x": "1"})
    assert parse_request(scraper) == wanted


def test_a_query_is_read():
    asked = parse_request(head("GET /logs?of=a%2Eb&level=&x=%ff+1 HTTP/1.1", "Host: a"))
    assert asked.path == "/logs"
    assert asked.query == {"of": "a.b", "x": "\ufffd 1"}


@pytest.mark.parametrize(
    ("value", "token"), [("Bearer abc", "abc"), ("Bearer  abc ", "abc"), ("", "")]
)
def test_a_token_is_read(value, token):
    assert (
        parse_request(head("GET / HTTP/1.1", "Host: a", f"Authorization: {value}")).token == token
    )


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_a_page_from_elsewhere_is_refused(origin):
    asked = head("GET / HTTP/1.1", "Host: localhost:8470", f"Origin: {origin}")
    assert parse_request(asked).status is HTTPStatus.FORBIDDEN


def test_the_own_page_is_answered():
    asked = head("GET / HTTP/1.1", "Host: Localhost:8470", "Origin: http://localhost:8470")
    assert isinstance(parse_request(asked), Request)


def test_an_answer_lets_a_page_have_nothing_from_elsewhere():
    stream = Stream(None, "text/event-stream")
    for sent in (render(Answer(HTTPStatus.OK, b"")), render_head(stream)):
        assert b"\r\nContent-Security-Policy: default-src 'none'; script-src 'self';" in sent
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in sent
        assert b"Access-Control-" not in sent


@pytest.mark.parametrize(
    ("host", "name"), [("Beamline", "beamline"), ("[::1]:9464", "::1"), ("localhost", "localhost")]
)
def test_the_name_of_the_host_is_told_without_port_and_brackets(host, name):
    assert parse_request(head("HEAD / HTTP/1.0", f"Host: {host}")).host == name


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("GET /metrics HTTP/1.1",),
        ("GET /metrics HTTP/1.1", "Host: a", "Host: b"),
        ("GET /metrics HTTP/1.1", "Host: a b"),
        ("GET /metrics HTTP/1.1", "Host: "),
        ("GET /metrics HTTP/1.1", "Host: a", "a line without a colon"),
        ("GET /metrics HTTP/1.1", "Host: a", " folded: line"),
        ("GET http://elsewhere/metrics HTTP/1.1", "Host: a"),
        ("GET /metrics HTTP/2", "Host: a"),
        ("GET /met\nrics HTTP/1.1", "Host: a"),
    ],
)
def test_what_is_no_request_is_refused(lines):
    assert parse_request(head(*lines)).status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(method):
    answer = parse_request(head(f"{method} /metrics HTTP/1.1", "Host: localhost"))
    assert answer.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert b"\r\nAllow: GET, HEAD\r\n" in render(answer)


POST = (
    "POST /orders/drop HTTP/1.1",
    "Host: localhost:8470",
    "Origin: http://localhost:8470",
    "Content-Type: application/json",
    "Content-Length: 7",
)


def post(*changed):
    """Return a POST, of which lines are replaced by those of the same name, or added."""
    names = [line.partition(":")[0] for line in changed]
    lines = [line for line in POST if line.partition(":")[0] not in names]
    return parse_request(head(*lines, *(line for line in changed if line[-1] != ":")), ORDERING)


def test_the_own_page_may_give_orders():
    asked = post("Sec-Fetch-Site: same-origin", "Content-Type: application/json; charset=utf-8")
    assert (asked.method, asked.path, asked.body_bytes) == ("POST", "/orders/drop", 7)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ("Origin:", 403),
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Content-Type:", 415),
        ("Content-Type: text/plain", 415),
        ("Content-Type: application/x-www-form-urlencoded", 415),
        ("Content-Length:", 411),
        ("Content-Length: -1", 411),
        ("Content-Length: 1e3", 411),
        (f"Content-Length: {BODY_BYTES + 1}", 413),
        ("Transfer-Encoding: chunked", 413),
    ],
)
def test_others_may_not(changed, status):
    assert post(changed).status == status


def test_what_is_read_has_no_body():
    asked = parse_request(head("GET / HTTP/1.1", "Host: a", "Content-Length: 9"), ORDERING)
    assert asked.body_bytes == 0


def test_other_methods_are_not_possible_where_orders_are_taken_either():
    answer = parse_request(head("PUT / HTTP/1.1", "Host: a"), ORDERING)
    assert b"\r\nAllow: GET, HEAD, POST\r\n" in render(answer)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(content):
    assert isinstance(parse_request(content + END), Request | Answer)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.168.1.7", "localhost", "beamline"])
def test_addresses_and_own_names_are_taken(host):
    assert refuse_host(host, {"localhost", "beamline"}) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "beamline.evil.example", "127.0.0.1.evil.example"]
)
def test_a_name_of_somebody_else_is_refused(host):
    answer = refuse_host(host, {"localhost", "beamline"})
    assert answer.status is HTTPStatus.MISDIRECTED_REQUEST
    assert repr(host) in answer.body.decode()


def test_an_answer_is_rendered_with_its_length_and_for_a_head_without_its_body():
    answer = Answer(HTTPStatus.OK, "größe 1\n".encode())
    whole, start = render(answer), render(answer, body=False)
    assert whole == start + answer.body
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"\r\nContent-Length: {len(answer.body)}\r\n".encode() in start
