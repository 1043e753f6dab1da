"""What a state machine did last: kept in a ring, put into words when somebody reads it."""

import ast
from pathlib import Path
from string import Formatter

import pytest

import arroyo
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import TRANSITIONS, History

PACKAGE = Path(arroyo.__file__).parent


def test_a_transition_is_one_line_with_its_time():
    history = History(12.0)
    history.note("began")
    history.now = 12.3454
    history.note("took batch {} from {}: {} messages", 17, ReplicaName("take", 0), 64)
    assert history.lines() == [
        "12.000 s  began",
        "12.345 s  took batch 17 from take.0: 64 messages",
    ]


def test_only_the_last_ones_are_kept():
    history = History()
    for number in range(2 * TRANSITIONS):
        history.note("step {}", number)
    lines = history.lines()
    assert len(history) == len(lines) == TRANSITIONS
    assert lines[0] == f"0.000 s  step {TRANSITIONS}"
    assert lines[-1] == f"0.000 s  step {2 * TRANSITIONS - 1}"


def test_the_reader_says_how_a_time_is_written():
    history = History(2.5)
    history.note("began")
    assert history.lines(lambda time_s: f"at {time_s}") == ["at 2.5  began"]


def test_no_words_are_made_before_somebody_reads_them():
    class Unreadable:
        def __format__(self, spec):
            raise AssertionError("was put into words")

    history = History()
    history.note("came from {}", Unreadable())
    with pytest.raises(AssertionError, match="put into words"):
        history.lines()


def notes():
    """Each call of `history.note` in the package: where, its words, and how many values."""
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_bytes())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr == "note" and owner.endswith("history"):
                yield f"{module.relative_to(PACKAGE)}:{node.lineno}", node.args[0], node.args[1:]


def test_every_note_has_a_value_for_each_place_in_its_words():
    """They are first put together in a crash, which is no time to learn of a mistake."""
    seen = 0
    for place, words, values in notes():
        assert isinstance(words, ast.Constant), f"{place} makes words before they are read"
        places = [name for _, name, _, _ in Formatter().parse(words.value) if name is not None]
        assert len(places) == len(values), f"{place}: {words.value}"
        seen += 1
    assert seen > 20
