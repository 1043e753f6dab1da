"""`AccessToken`: the secret by which a server knows its own user's browser."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus

from .http_request import Answer, Request

TOKEN_BYTES = 32


class AccessToken:
    """A secret made anew for each life of a server, so that one that leaked is soon worth nothing.

    It travels in a header of its own, not in a cookie: a browser gives cookies of one port to
    servers on all ports of a host, and those may be other users'.
    """

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(TOKEN_BYTES)

    def refuse(self, request: Request) -> Answer | None:
        """Return the answer to a request that does not know the token; None: it does."""
        if hmac.compare_digest(request.token.encode(), self.text.encode()):
            return None
        return Answer.refusing(
            HTTPStatus.UNAUTHORIZED,
            "this needs the token of the address that 'arroyo dashboard' printed when it started",
        )
