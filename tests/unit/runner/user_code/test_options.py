from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from arroyo.config.graph import Stage
from arroyo.config.reading.variables import UnresolvedText, VariableText
from arroyo.runner.user_code.options import bind_options, place_in_options


class Plot:
    def __init__(
        self,
        path: Path,
        *,
        points: int = 100,
        scale: float = 1.0,
        size: tuple[int, int] = (1, 1),
        mode: Literal["lin", "log"] = "lin",
        title: str | None = None,
        anything: Any = None,
        unknown: "NoSuchType | int" = 1,  # noqa: F821
    ) -> None:
        pass


class Typed(Plot):
    def __init__(
        self,
        path: Path,
        points: int = 100,
        scale: float = 1.0,
        size: tuple[int, int] = (1, 1),
        mode: Literal["lin", "log"] = "lin",
        title: str | None = None,
        other: dict[str, int] | None = None,
        device: Plot | None = None,
    ) -> None:
        pass


class Open:
    def __init__(self, **settings: Any) -> None:
        pass


class Source:
    def __init__(self, operator: Any, port: int) -> None:
        pass


@dataclass
class Limits:
    low: float
    high: float


def make(limits: Limits) -> None:
    pass


def bind(factory, role="publisher", **options):
    return bind_options(factory, Stage("plot", role, "m:C", options=options))


def problem_of(factory, role="publisher", **options):
    _, problems = bind(factory, role, **options)
    assert len(problems) == 1
    return problems[0]


def test_options_are_converted_to_what_the_signature_says():
    options, problems = bind(Typed, path="a.txt", scale=2, size=[3, 4], mode="log")
    assert problems == []
    assert options == {"path": Path("a.txt"), "scale": 2.0, "size": (3, 4), "mode": "log"}
    assert isinstance(options["scale"], float)


def test_a_table_becomes_a_dataclass():
    assert bind(make, limits={"low": 1, "high": 2})[0] == {"limits": Limits(1.0, 2.0)}


def test_an_unknown_option_is_answered_with_the_nearest():
    assert problem_of(Typed, path="a", pionts=1) == (
        "stages.plot.options.pionts: Typed has no such option; did you mean 'points'?"
    )


def test_a_required_option_is_missed():
    assert problem_of(Typed).startswith("stages.plot.options: path is missing; Typed(path, ")


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        ({"points": "many"}, "points", "found 'many', expected a whole number"),
        ({"points": 1.5}, "points", "found 1.5, expected a whole number"),
        ({"points": True}, "points", "expected a whole number"),
        ({"title": 1}, "title", "expected text"),
        ({"mode": "cubic"}, "mode", "found 'cubic', expected 'lin' or 'log'"),
        ({"size": [1, "b"]}, "size[1]", "found 'b', expected a whole number"),
        ({"other": {"a": "b"}}, "other", "expected a whole number for each"),
        ({"path": 3}, "path", "found 3, expected text"),
    ],
)
def test_a_wrong_type_is_one_sentence(options, place, words):
    found = problem_of(Typed, **{"path": "a", **options})
    assert found.startswith(f"stages.plot.options.{place}: ")
    assert words in found


def test_every_mistake_is_told_at_once():
    assert len(bind(Typed, points="x", titel="y")[1]) == 3


def test_a_type_that_is_not_toml_s_is_left_to_the_class():
    assert bind(Typed, path="a", device="x")[0]["device"] == "x"


def test_annotations_that_can_not_be_read_check_nothing_but_names():
    assert bind(Plot, path="a", points="x") == ({"path": "a", "points": "x"}, [])
    assert problem_of(Plot, path="a", pionts=1)


def test_a_class_that_takes_anything_gets_it():
    assert bind(Open, whatever=1) == ({"whatever": 1}, [])


def test_a_listener_s_operator_is_no_option():
    assert bind(Source, "listener", port=1) == ({"port": 1}, [])
    assert "no such option" in problem_of(Source, "listener", port=1, operator="x")


def test_text_of_a_variable_becomes_the_number_that_is_wanted():
    options, problems = bind(Typed, path=VariableText("7"), points=VariableText("7"))
    assert problems == []
    assert options == {"path": Path("7"), "points": 7}


def test_text_of_a_variable_that_is_no_number_is_a_mistake():
    assert "found 'x', expected a whole number" in problem_of(
        Typed, path="a", points=VariableText("x")
    )


def test_text_of_a_variable_that_is_not_set_is_no_second_mistake():
    _, problems = bind(Typed, path="a", points=UnresolvedText(""), size=[UnresolvedText(""), 1])
    assert problems == []
    assert problem_of(Typed, path="a", pionts=UnresolvedText(""))


@pytest.mark.parametrize(
    ("problem", "place"),
    [
        ("rate is -3; expected events per second", ".rate"),
        ("events and rate are both given", ".events"),
        ("no beam", ""),
    ],
)
def test_the_place_of_a_problem_is_the_option_that_it_names_first(problem, place):
    stage = Stage("plot", "publisher", "m:C", options={"events": 3, "rate": -3, "rat": 1})
    assert place_in_options(problem, stage) == f"stages.plot.options{place}"


def test_user_code_gets_plain_text_however_deep_it_is():
    options, _ = bind(Open, a=VariableText("x"), b=[{"c": VariableText("y")}])
    assert type(options["a"]) is str
    assert type(options["b"][0]["c"]) is str
