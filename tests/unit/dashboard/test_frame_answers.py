import asyncio
import json
import os
from http import HTTPStatus

import numpy as np
import pytest
from supervised_histories import LINE, make_chain

from arroyo.dashboard.frame_answers import FrameAnswers
from arroyo.dashboard.frame_tap import Frame
from arroyo.web.http_request import Request

PLANE = np.arange(12, dtype="<u2").reshape(3, 4)


@pytest.fixture
def answers():
    """Answers for a stage of which one frame is kept."""
    made = FrameAnswers(lambda: make_chain(LINE), os.environ)
    tap = made._taps.of("images")
    tap._frames[5] = Frame(5, 1.0, {"key": "images.0/run/4"}, PLANE)
    tap._frames[6] = Frame(6, 2.0, {"kind": "Start"})
    yield made
    tap.close()


def ask(answers, path, **query):
    later = answers.find(Request("GET", path, "localhost", "", query))
    return asyncio.run(later.answer())


def test_a_frame_is_given_with_what_is_known_of_it(answers):
    answer = ask(answers, "/frame", of="images", number="5", wide="2", high="2")
    size = int.from_bytes(answer.body[:4], "little")
    shown = json.loads(answer.body[4 : 4 + size])
    assert (shown["number"], shown["first"], shown["plane"]) == (5, 5, [3, 4])
    assert (shown["block"], shown["key"]) == (2, "images.0/run/4")
    assert np.frombuffer(answer.body[4 + size :], "<u2").tolist() == [6, 8, 10, 12]


def test_a_frame_lies_as_wanted_and_the_marked_region_is_measured(answers):
    marked = {"marked_x": "1", "marked_y": "1", "marked_w": "2", "marked_h": "9"}
    query = {"of": "images", "number": "5", "wide": "4", "high": "4", "turn": "1", **marked}
    answer = ask(answers, "/frame", **query)
    size = int.from_bytes(answer.body[:4], "little")
    shown = json.loads(answer.body[4 : 4 + size])
    assert (shown["wide"], shown["high"], shown["turn"], shown["flip"]) == (3, 4, 1, 0)
    assert np.frombuffer(answer.body[4 + size :], "<u2")[:3].tolist() == [9, 5, 1]
    assert shown["marked"]["region"] == [1, 1, 2, 2]
    assert shown["marked"]["sum"] == 5 + 6 + 9 + 10
    assert ask(answers, "/frame", **query | {"turn": "4"}).status is HTTPStatus.NOT_FOUND


def test_a_message_without_an_array_is_given_without_a_picture(answers):
    answer = ask(answers, "/frame", of="images", number="6", wide="2", high="2")
    assert b'"kind": "Start"' in answer.body
    assert b"format" not in answer.body


def test_the_true_value_of_a_pixel_is_told(answers):
    answer = ask(answers, "/value", of="images", number="5", x="3", y="2")
    assert json.loads(answer.body) == {"value": 11}


@pytest.mark.parametrize(
    "query",
    [
        {"of": "nothing", "number": "5"},
        {"of": "images", "number": "4"},
        {"of": "images", "number": "6"},
        {"of": "images", "number": "5", "x": "4"},
        {"of": "images", "number": "5", "x": "-1"},
        {"of": "images", "number": "5", "x": "1e3"},
        {"of": "images", "number": "5", "x": "9" * 5000},
    ],
)
def test_there_are_no_other_values(answers, query):
    assert ask(answers, "/value", **query).status is HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("wide", ["0", "2049", "x", ""])
def test_a_picture_has_its_bounds(answers, wide):
    answer = ask(answers, "/frame", of="images", number="5", wide=wide, high="2")
    assert answer.status is HTTPStatus.NOT_FOUND
    assert b"expected a number from 1 to 2048" in answer.body


def test_a_stage_that_does_not_run_is_told(answers):
    answer = ask(answers, "/frame", of="images", wide="2", high="2")
    assert answer.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert b"chain chain does not run" in answer.body


def test_it_answers_nothing_else(answers):
    assert answers.find(Request("GET", "/logs", "localhost", "")) is None
