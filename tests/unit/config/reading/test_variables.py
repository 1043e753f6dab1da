import msgspec

from arroyo.config.reading.variables import (
    UnresolvedText,
    VariableText,
    as_plain,
    is_unresolved,
    substitute,
)


def fill(value, **environ):
    problems: list[str] = []
    return substitute(value, environ, "stages.a.options", problems), problems


def test_a_variable_is_replaced_however_deep_the_string_is():
    found, problems = fill({"a": [{"b": "x-${HOST}-y"}]}, HOST="det")
    assert found == {"a": [{"b": "x-det-y"}]}
    assert problems == []


def test_a_default_stands_in_for_a_variable_that_is_unset_or_empty():
    assert fill("${A:-left}${B:-right}", B="")[0] == "leftright"
    assert fill("${A:-}") == ("", [])


def test_a_set_variable_wins_over_its_default():
    assert fill("${A:-left}", A="set")[0] == "set"


def test_a_missing_variable_is_named_with_its_place():
    _, problems = fill({"hosts": ["${NOPE}"]})
    assert len(problems) == 1
    assert problems[0].startswith("stages.a.options.hosts[0]: ")
    assert "NOPE" in problems[0]


def test_an_empty_variable_without_a_default_is_empty_text():
    assert fill("<${A}>", A="") == ("<>", [])


def test_two_dollars_stand_for_the_characters_themselves():
    assert fill("$${A} and $5 and $A", A="no") == ("${A} and $5 and $A", [])


def test_a_broken_reference_is_a_mistake_and_not_passed_on():
    _, problems = fill("${A")
    assert problems
    _, problems = fill("${1A}")
    assert problems


def test_text_whose_mistake_is_told_is_known_by_that():
    for wrong in ("${NOPE}", "a ${ b", "${A}${NOPE}"):
        found, _ = fill({"a": [wrong]}, A="a")
        assert type(found["a"][0]) is UnresolvedText
        assert is_unresolved(found)
    assert not is_unresolved(fill({"a": ["${A}", 5, "${B:-}"]}, A="a")[0])


def test_what_a_variable_holds_is_not_looked_at_again():
    assert fill("${A}", A="${B}") == ("${B}", [])


def test_values_that_are_no_text_stay_as_they_are():
    assert fill({"a": 1, "b": 2.5, "c": True}) == ({"a": 1, "b": 2.5, "c": True}, [])


def test_plain_text_can_travel_where_text_of_variables_can_not():
    text = VariableText("5556")
    assert msgspec.json.encode(as_plain({"a": [text]})) == b'{"a":["5556"]}'
