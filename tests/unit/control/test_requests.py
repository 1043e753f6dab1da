import pytest
from answering_loop import loop

from arroyo.control.requests import request
from arroyo.errors import UnavailableError, UsageError

__all__ = ["loop"]


def test_a_request_gets_its_reply(loop):
    with loop.turning():
        assert request(loop.path, "status") == {"state": "READY"}


@pytest.mark.parametrize("asked", [{"target": "\udcff"}, {"values": {"mode": "\udcff"}}])
def test_a_request_that_is_no_text_is_a_mistake_of_who_asks(loop, asked):
    with pytest.raises(UsageError, match="not UTF-8 text"):
        request(loop.path, "status", **asked)


def test_a_long_reply_arrives_whole(loop):
    with loop.turning():
        assert request(loop.path, "long") == "x" * 3_000_000


def test_without_a_supervisor_there_is_no_answer(tmp_path):
    with pytest.raises(UnavailableError, match="no supervisor answers: it starts or ends"):
        request(tmp_path / "control", "status")


def test_a_supervisor_that_hangs_gives_no_answer_in_time(loop):
    with pytest.raises(UnavailableError, match="no answer to 'status'"):
        request(loop.path, "status", timeout_s=0.05)
