import json

import pytest

from arroyo.cli.following.parameter_request import answer
from arroyo.errors import UsageError


def ask(*frames, set_parameters=lambda *_: None):
    return json.loads(answer(frames, set_parameters))


def test_a_request_is_carried_out():
    got = []
    request = b'{"stage": "integrate", "parameters": {"threshold": 700}}'
    told = ask(request, set_parameters=lambda *given: got.append(given))
    assert told == {"success": True, "msg": ""}
    assert got == [("integrate", {"threshold": 700})]


def test_a_refusal_is_answered_with_its_reason():
    def refuse(*_):
        raise UsageError("there is no parameter 'treshold'")

    told = ask(b'{"stage": "integrate", "parameters": {"treshold": 1}}', set_parameters=refuse)
    assert told == {"success": False, "msg": "there is no parameter 'treshold'"}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([b"threshold=700"], "JSON is malformed"),
        ([b"\xff"], "this is not a request"),
        ([b"[" * 10_000], "this is not a request"),
        ([b'{"stage": "integrate"}'], "missing required field `parameters`"),
        ([b'{"stage": "integrate", "parameters": 7}'], "Expected `object`, got `int`"),
        ([b'{"stage": "a", "parameters": {}, "verb": "stop"}'], "unknown field `verb`"),
        ([b"topic", b"{}"], "found 2 frames, expected one"),
        ([], "found 0 frames"),
    ],
)
def test_what_is_no_request_is_answered_so(frames, said):
    told = ask(*frames, set_parameters=lambda *_: pytest.fail("nothing is set"))
    assert not told["success"]
    assert said in told["msg"]
