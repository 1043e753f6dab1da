"""Values of parameters: those of the chain file, and those that people type."""

import datetime

import pytest

from arroyo.config.parameters import (
    DEPTH_MAX,
    change_problems,
    parameter_problems,
    parse_assignment,
    say_all,
)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("700", 700),
        ("-0.5", -0.5),
        ("true", True),
        ('"fast"', "fast"),
        ("fast", "fast"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ("{ low = 1 }", {"low": 1}),
        ("a=b", "a=b"),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_what_is_typed_is_a_value_of_toml_or_text(typed, value):
    assert parse_assignment(f"level={typed}") == ("level", value)


@pytest.mark.parametrize("typed", ["level", "=5", ""])
def test_what_is_no_assignment_is_refused(typed):
    with pytest.raises(ValueError, match="expected name=value"):
        parse_assignment(typed)


def test_values_that_json_does_not_have_are_named_with_their_place():
    found = {
        "at": datetime.date(2026, 1, 2),
        "deep": {"list": [1, float("inf")]},
        "much": 2**64,
        "two words": 1,
        "_own": 1,
        "fine": {"a": [True, "text", 1.5]},
    }
    assert list(parameter_problems(found)) == [
        "parameters.at: found the date or time 2026-01-02; write it as text",
        "parameters.deep.list[1]: found inf, expected a finite number",
        "parameters.much: found 18446744073709551616, expected a number of 64 bits at most",
        "parameters.two words: found 'two words', expected a name that an attribute of a class "
        "may have",
        "parameters._own: found '_own', expected a name that an attribute of a class may have",
    ]


DECLARED = {"level": 5, "mode": "fast", "on": True, "mask": [1]}


@pytest.mark.parametrize(
    "wanted", [{"level": 7.5, "mode": "slow"}, {"on": False}, {"mask": [3, 4]}]
)
def test_what_is_of_the_kind_in_the_chain_file_may_be_set(wanted):
    assert not list(change_problems(DECLARED, wanted))


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"leval": 7}, "there is no parameter 'leval'; did you mean 'level'?"),
        ({"level": "7OO"}, 'level: found "7OO", expected a number, as in the chain file'),
        ({"level": True}, "level: found true, expected a number, as in the chain file"),
        ({"on": 1}, "on: found 1, expected true or false, as in the chain file"),
        ({"level": float("nan")}, "level: found nan, expected a finite number"),
        (
            {"mode": 5},
            "mode: found 5, expected text, as in the chain file; write it as 'mode=\"5\"'",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(wanted, problem):
    assert list(change_problems(DECLARED, wanted)) == [problem]


def test_what_is_nested_too_deep_is_refused_and_never_an_error_of_ours():
    for depth in (DEPTH_MAX + 1, 900):
        value = []
        for _ in range(depth):
            value = [value]
        (problem,) = change_problems(DECLARED, {"mode": value})
        assert problem.endswith("found more than 16 lists or tables within each other")
    assert parse_assignment(f"level={'[' * 5000}")[1] == "[" * 5000


def test_what_no_number_can_be_is_text():
    assert parse_assignment(f"level={'1' * 5000}")[1] == "1" * 5000


def test_parameters_are_shown_as_people_write_them():
    assert say_all({"level": 5, "mode": "größer", "on": True}) == (
        'level = 5, mode = "größer", on = true'
    )
