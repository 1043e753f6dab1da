"""Wrong types in words of the chain file: what was found, what was expected."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from arroyo.config.reading.mismatch import explain_mismatch

PLACE = "stages.work.points"


def explained(value, kind):
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, kind)
    return explain_mismatch(raised.value, value, kind, PLACE)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("12", int, "found '12', expected a whole number"),
        (1.5, int, "found 1.5, expected a whole number"),
        ("1", float, "found '1', expected a number"),
        (5, str, "found 5, expected text"),
        (1, bool, "found 1, expected true or false"),
        ("x", list, "found 'x', expected a list"),
        ([], dict, "found [], expected a table"),
        ("x", int | None, "found 'x', expected a whole number"),
        ([1], str | int, "found [1], expected a whole number or text"),
        (0, Annotated[int, msgspec.Meta(ge=1)], "found 0, expected a whole number >= 1"),
        ([1], tuple[int, int], "found [1], expected a list of length 2, got 1"),
    ],
)
def test_what_was_found_and_expected_is_said_at_its_place(value, kind, words):
    assert explained(value, kind) == f"{PLACE}: {words}"


@pytest.mark.parametrize("kind", [list[int], tuple[int, int]])
def test_the_item_of_a_list_that_is_wrong_is_named_itself(kind):
    assert explained([1, "2"], kind) == f"{PLACE}[1]: found '2', expected a whole number"


def test_of_a_table_each_value_is_expected_to_be_right():
    words = f"{PLACE}: found {{'x': 1}}, expected text for each"
    assert explained({"x": 1}, dict[str, str]) == words


def test_the_field_of_a_table_that_is_wrong_is_named():
    point = msgspec.defstruct("Point", [("x", int), ("y", int)])
    assert explained({"x": 1, "y": "2"}, point) == (
        f"{PLACE}: found {{'x': 1, 'y': '2'}}, expected a whole number at y"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Literal["any"], "expected 'any'"),
        (Literal["any", "source"], "expected 'any' or 'source'"),
        (Literal["a", "b", "c"] | None, "expected one of 'a', 'b', 'c'"),
    ],
)
def test_of_few_values_all_are_said(kind, words):
    assert explained("all", kind) == f"{PLACE}: found 'all', {words}"


def test_an_error_in_words_of_its_own_is_told_with_them():
    error = msgspec.ValidationError("no such folder")
    assert explain_mismatch(error, "raw", Path, PLACE) == f"{PLACE}: found 'raw'; no such folder"
