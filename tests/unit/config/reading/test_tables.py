from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arroyo.config.reading.key_lines import KeyLines
from arroyo.config.reading.tables import read_tables
from arroyo.config.reading.variables import substitute
from arroyo.config.reading.wiring import wire
from arroyo.config.schema import (
    ChainFile,
    ChainTable,
    InputTable,
    OnEventTable,
    StageTable,
    SupervisorTable,
)

names = st.sampled_from(["a", "b", "c", "Bad name"])
scalars = st.one_of(
    st.booleans(),
    st.integers(-2, 70_000),
    st.floats(),
    st.datetimes(),
    st.text(max_size=5),
    names,
    st.sampled_from(["m:C", "5 s", "1 MiB", "key:x", "retry:2", "tcp://*:7000", "tcp://h:65535"]),
    st.sampled_from(["source", "pub-sub", "block", "never", "${A}", "${B:-2}", "${"]),
)


def tables(kind, **special):
    """Make tables with keys of `kind` and values of all sorts, right and wrong."""
    keys = {name: special.get(name, values) for name in kind.__struct_fields__}
    return st.fixed_dictionaries({}, optional={**keys, "other": values})


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
inputs = st.lists(st.one_of(names, tables(InputTable, stage=names), values), max_size=3)
stages = st.one_of(
    st.fixed_dictionaries(
        {"operator": st.just("m:C"), "inputs": st.lists(names, max_size=3)},
        optional={"listen": st.just("tcp://*:7000"), "replicas": st.integers(1, 3)},
    ),
    tables(StageTable, inputs=inputs),
    values,
)
documents = tables(
    ChainFile,
    chain=st.one_of(tables(ChainTable), values),
    supervisor=st.one_of(
        tables(SupervisorTable, on_event=st.one_of(tables(OnEventTable), values)), values
    ),
    stages=st.one_of(st.dictionaries(names, stages, max_size=4), values),
)


@given(documents)
@settings(deadline=None, max_examples=200)
def test_whatever_a_file_says_its_mistakes_are_sentences_with_a_place(document):
    problems: list[str] = []
    document = substitute(document, {"A": "1"}, "", problems)
    chain = wire(read_tables(document, problems), Path("/chain.toml"), problems)
    lines = KeyLines("chain.toml", "")
    assert all(lines.locate(problem).isprintable() for problem in problems)
    assert all(": " in problem for problem in problems)
    if not problems:
        assert sum(map(len, chain.levels)) == len(chain.stages) == len(document["stages"])


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ("mail", "supervisor.on_event: found 'mail', expected a table or a list"),
        (["mail", 3], "supervisor.on_event[1]: found 3, expected text"),
        ({"events": ["failed"]}, "supervisor.on_event.command: this key is missing"),
        ({"command": ["mail"], "event": []}, "supervisor.on_event.event: there is no such key"),
        ({"command": ["mail"], "events": ["fails"]}, "supervisor.on_event.events"),
    ],
)
def test_a_wrong_hook_is_a_mistake_with_its_place(found, problem):
    problems: list[str] = []
    document = {"chain": {"name": "a"}, "stages": {"a": {}}, "supervisor": {"on_event": found}}
    read_tables(document, problems)
    (told,) = problems
    assert told.startswith(problem)


def test_a_hook_is_a_program_or_a_table():
    problems: list[str] = []
    table = {"command": ["mail", "shift"], "events": ["failed"]}
    for found, wanted in ((["mail"], ["mail"]), (table, OnEventTable(**table))):
        document = {"chain": {"name": "a"}, "stages": {"a": {}}, "supervisor": {"on_event": found}}
        assert read_tables(document, problems).supervisor.on_event == wanted
    assert problems == []
