"""Requests of HTTP/1.1 as they are accepted here, and answers to them. PURE.

Only what a scraper or a browser needs: GET and HEAD, one request for each connection; and POST of
a small piece of JSON by a page that this server gave, where it takes orders.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

HEAD_BYTES = 8192
"""Longest request, without its body."""
BODY_BYTES = 8192
"""Longest body of a POST."""
END = b"\r\n\r\n"
PLAIN = "text/plain; charset=utf-8"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'",
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
)
"""A page has nothing but what this server gives, and is in no frame of another page."""
READING = ("GET", "HEAD")
ORDERING = (*READING, "POST")
JSON = "application/json"
_LINE = re.compile(r"([A-Z]+) (/[^\s?#]*)(?:\?(\S*))? HTTP/1\.[01]")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::\d{1,5})?")


class Request(NamedTuple):
    """A request."""

    method: str
    path: str
    host: str
    """What it calls this host, without the port."""
    accept: str
    """Types of content that it accepts; empty: any."""
    query: Mapping[str, str] = {}
    """Values of its query, by their names."""
    token: str = ""
    """What it gives as ``Authorization: Bearer TOKEN``."""
    body_bytes: int = 0
    """Size of the body of a POST, which comes behind what is parsed."""
    body: bytes = b""


class Answer(NamedTuple):
    """What is said to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN
    methods: Sequence[str] = READING
    """Those that are possible, where this one is not."""

    @classmethod
    def refusing(cls, status: HTTPStatus, sentence: str) -> Answer:
        """Return the answer to a request that gets nothing but a sentence."""
        return cls(status, f"{sentence}\n".encode())


class Stream(NamedTuple):
    """An answer that goes on until the client leaves."""

    chunks: Callable[[], AsyncGenerator[bytes, None]]
    """Called once it is sent."""
    content_type: str


class Later(NamedTuple):
    """An answer that takes a while, in which others are answered."""

    answer: Callable[[], Awaitable[Answer]]


def parse_request(head: bytes, methods: Sequence[str] = READING) -> Request | Answer:
    """Read a request, up to and with `END`; return the answer to one that is refused."""
    line, *lines = head.removesuffix(END).decode("latin-1").split("\r\n")
    match, fields = _LINE.fullmatch(line), [_FIELD.fullmatch(each) for each in lines]
    values = [(field[1].lower(), field[2]) for field in fields if field]
    hosts = [_HOST.fullmatch(value) for name, value in values if name == "host"]
    if match is None or None in fields or len(hosts) != 1 or (host := hosts[0]) is None:
        return Answer.refusing(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")
    if match[1] not in methods:
        sentence = f"{match[1]} is not possible here; there are {' and '.join(methods)}"
        return Answer(
            HTTPStatus.METHOD_NOT_ALLOWED, f"{sentence}\n".encode(), methods=tuple(methods)
        )
    if any(name == "origin" and not _is_origin(value, host[0]) for name, value in values):
        return Answer.refusing(HTTPStatus.FORBIDDEN, "pages from elsewhere get nothing here")
    found = {name: value for name, value in reversed(values)}
    if match[1] == "POST" and (refusal := _refuse_post(found)):
        return refusal
    return Request(
        match[1],
        match[2],
        host[1].strip("[]").lower(),
        ", ".join(value for name, value in values if name == "accept"),
        dict(parse_qsl(match[3] or "", errors="replace")),
        found.get("authorization", "").removeprefix("Bearer ").strip(),
        int(found["content-length"]) if match[1] == "POST" else 0,
    )


def _refuse_post(fields: Mapping[str, str]) -> Answer | None:
    """Return the answer to a POST that no page of ours would send: they say where they are from.

    A form of another page can't have this type of content.
    """
    if "origin" not in fields or fields.get("sec-fetch-site", "same-origin") != "same-origin":
        return Answer.refusing(HTTPStatus.FORBIDDEN, "orders are taken from the own page only")
    if fields.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        return Answer.refusing(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"an order comes as {JSON}")
    if not re.fullmatch(r"\d{1,9}", fields.get("content-length", "")):
        return Answer.refusing(HTTPStatus.LENGTH_REQUIRED, "an order says how long it is")
    if int(fields["content-length"]) > BODY_BYTES or "transfer-encoding" in fields:
        sentence = f"an order has {BODY_BYTES} bytes at most, in one piece"
        return Answer.refusing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
    return None


def _is_origin(origin: str, host: str) -> bool:
    """Return True if a page of this origin came from this host."""
    return origin.partition("://")[2].lower() == host.lower()


def refuse_host(host: str, own_names: Collection[str]) -> Answer | None:
    """Return the answer to a request that calls this host by a name which is not its own.

    That is what a browser sends for a page of somebody else who has his name lead here (DNS
    rebinding). An address is no name, so any will do.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host not in own_names:
            sentence = (
                f"this host is not known as {host!r} here; ask by its address, or listen by name"
            )
            return Answer.refusing(HTTPStatus.MISDIRECTED_REQUEST, sentence)
    return None


def render(answer: Answer, *, body: bool = True) -> bytes:
    """Return an answer as it is sent; without the body for a HEAD."""
    more = [f"Content-Length: {len(answer.body)}"]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        more.append(f"Allow: {', '.join(answer.methods)}")
    if answer.status is HTTPStatus.UNAUTHORIZED:
        more.append("WWW-Authenticate: Bearer")
    head = _head(answer.status, answer.content_type, *more)
    return head + (answer.body if body else b"")


def render_head(stream: Stream) -> bytes:
    """Return what is sent before the chunks of a stream."""
    return _head(HTTPStatus.OK, stream.content_type)


def _head(status: HTTPStatus, content_type: str, *more: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Content-Security-Policy: {CONTENT_SECURITY_POLICY}",
        "Cross-Origin-Resource-Policy: same-origin",
        "Referrer-Policy: no-referrer",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(lines).encode("latin-1") + END
