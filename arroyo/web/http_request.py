"""Requests of HTTP/1.1 as they are accepted here, and answers to them. PURE.

Only what a scraper or a browser needs: GET and HEAD, one request for each connection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

HEAD_BYTES = 8192
"""Longest request."""
END = b"\r\n\r\n"
PLAIN = "text/plain; charset=utf-8"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'",
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
)
"""A page has nothing but what this server gives, and is in no frame of another page."""
_METHODS = ("GET", "HEAD")
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


class Answer(NamedTuple):
    """What is said to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN

    @classmethod
    def refusing(cls, status: HTTPStatus, sentence: str) -> Answer:
        """Return the answer to a request that gets nothing but a sentence."""
        return cls(status, f"{sentence}\n".encode())


class Stream(NamedTuple):
    """An answer that goes on until the client leaves."""

    chunks: Callable[[], AsyncGenerator[bytes, None]]
    """Called once it is sent."""
    content_type: str


def parse_request(head: bytes) -> Request | Answer:
    """Read a request, up to and with `END`; return the answer to one that is refused."""
    line, *lines = head.removesuffix(END).decode("latin-1").split("\r\n")
    match, fields = _LINE.fullmatch(line), [_FIELD.fullmatch(each) for each in lines]
    values = [(field[1].lower(), field[2]) for field in fields if field]
    hosts = [_HOST.fullmatch(value) for name, value in values if name == "host"]
    if match is None or None in fields or len(hosts) != 1 or (host := hosts[0]) is None:
        return Answer.refusing(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")
    if match[1] not in _METHODS:
        sentence = f"{match[1]} is not possible here; there are GET and HEAD"
        return Answer.refusing(HTTPStatus.METHOD_NOT_ALLOWED, sentence)
    if any(name == "origin" and not _is_origin(value, host[0]) for name, value in values):
        return Answer.refusing(HTTPStatus.FORBIDDEN, "pages from elsewhere get nothing here")
    accept = ", ".join(value for name, value in values if name == "accept")
    query = dict(parse_qsl(match[3] or "", errors="replace"))
    token = "".join(value for name, value in values if name == "authorization")
    return Request(
        match[1],
        match[2],
        host[1].strip("[]").lower(),
        accept,
        query,
        token.removeprefix("Bearer ").strip(),
    )


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
        more.append(f"Allow: {', '.join(_METHODS)}")
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
