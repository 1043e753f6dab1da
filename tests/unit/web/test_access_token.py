from http import HTTPStatus

import pytest

from arroyo.web.access_token import AccessToken
from arroyo.web.http_request import Request, render


def ask(token, given):
    return token.refuse(Request("GET", "/", "localhost", "", {}, given))


def test_who_knows_the_token_is_not_refused():
    token = AccessToken()
    assert ask(token, token.text) is None


@pytest.mark.parametrize(
    "given", ["", "wrong", "\xff", "\udcff".encode("utf-8", "replace").decode()]
)
def test_others_are(given):
    answer = ask(AccessToken(), given)
    assert answer.status is HTTPStatus.UNAUTHORIZED
    assert b"\r\nWWW-Authenticate: Bearer\r\n" in render(answer)


def test_each_life_of_a_server_has_its_own():
    one, other = AccessToken(), AccessToken()
    assert len(one.text) >= 40
    assert ask(one, other.text) is not None
