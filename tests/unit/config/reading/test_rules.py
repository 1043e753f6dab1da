from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.config.reading.rules import MAX_PATHS
from arroyo.config.reading.tables import Tables
from arroyo.config.reading.wiring import wire
from arroyo.config.schema import (
    ChainTable,
    InputTable,
    OnEventTable,
    StageTable,
    SupervisorTable,
)


def problems_of(stages, name="powder", messages=(), damaged=(), env=(), **supervisor):
    problems: list[str] = []
    watched = SupervisorTable(**supervisor)
    tables = Tables(
        ChainTable(name, list(messages), dict(env)), stages, watched, frozenset(damaged)
    )
    wire(tables, Path("/chains/chain.toml"), problems)
    return problems


def source(**keys):
    return StageTable(listener="stages:Source", **keys)


def operator(*inputs, **keys):
    return StageTable(operator="stages:Operator", inputs=list(inputs), **keys)


def sink(*inputs, **keys):
    return StageTable(publisher="stages:Sink", inputs=list(inputs), **keys)


def program(*command, **keys):
    return StageTable(command=list(command or ["broker"]), **keys)


PUB_SUB = InputTable("a", "pub-sub")

GOOD = [
    {"a": source(), "b": sink("a")},
    {"a": source(), "b": operator("a")},  # its results go nowhere, as in a chain being built
    {"b": sink("a"), "a": source()},
    {"a": source(), "b": operator("a"), "c": operator("a"), "d": sink("b", "c")},
    {"a": source(replicas=2), "b": sink(PUB_SUB)},
    {"a": source(), "b": sink("a", order="source", dispatch="key:frame", on_error="retry:3")},
    {"a": source(listen="tcp://*:6000", replicas=2), "b": sink("a", listen="tcp://h:6004")},
    {"a": source(), "b": sink("a", dispatch="key:x"), "c": sink("a", dispatch="key:x")},
    {"a": source(listen="tcp://h:6000"), "b": sink("a", listen="tcp://g:6000")},
    {"p": program("redis-server", ready="notify"), "a": source(), "b": sink("a")},
]


@pytest.mark.parametrize("stages", GOOD)
def test_a_chain_that_keeps_the_rules_has_no_problems(stages):
    assert problems_of(stages) == []


BAD = {
    "a stage's name": ({"A": source()}, "stages.A: a name starts with a lower-case letter"),
    "a class and a program": (
        {"a": source(), "b": sink("a", command=["broker"])},
        "stages.b: found publisher and command, expected one of them",
    ),
    "a program as an input": (
        {"a": source(), "p": program(), "b": sink("a", "p")},
        "stages.b.inputs[1]: p is a program, which sends no messages",
    ),
    "a program with replicas": (
        {"a": source(), "p": program(replicas=2)},
        "stages.p.replicas: a program does not have this key",
    ),
    "only programs": ({"p": program()}, "stages: found no listener"),
    "no role": (
        {"a": source(), "b": StageTable()},
        "stages.b: found no role; add a key listener, operator or publisher",
    ),
    "two roles": (
        {"a": source(publisher="stages:Sink")},
        "stages.a: found listener and publisher, expected one of them",
    ),
    "target": ({"a": StageTable(listener="stages")}, "stages.a.listener: found 'stages'"),
    "target with call": (
        {"a": StageTable(listener="stages:A()")},
        "stages.a.listener: found 'stages:A()', expected 'module:Class'; did you mean 'stages:A'?",
    ),
    "target with a point": (
        {"a": StageTable(listener="stages.more.A")},
        "stages.a.listener: found 'stages.more.A', expected 'module:Class'; "
        "did you mean 'stages.more:A'?",
    ),
    "target with a path": (
        {"a": StageTable(listener="./more/stages.py:A")},
        "stages.a.listener: found './more/stages.py:A', expected 'module:Class'; "
        "did you mean 'more.stages:A'?",
    ),
    "unknown input": (
        {"images": source(), "b": sink("image")},
        "stages.b.inputs[0]: there is no stage 'image'; did you mean 'images'?",
    ),
    "own input": (
        {"a": source(), "b": operator("a", "b")},
        "stages.b.inputs[1]: b is its own input",
    ),
    "same input twice": (
        {"a": source(), "b": sink("a", PUB_SUB)},
        "stages.b.inputs[1]: a is named twice",
    ),
    "publisher as input": (
        {"a": source(), "b": sink("a"), "c": sink("b")},
        "stages.c.inputs[0]: b is a publisher, which has no output; name the inputs of b instead, "
        "or its class under operator = if that is an Operator",
    ),
    "listener with input": (
        {"a": source(), "b": source(inputs=["a"])},
        "stages.b.inputs: a listener has no inputs",
    ),
    "sink without input": (
        {"a": source(), "b": sink()},
        "stages.b.inputs: found none; name the stages from which b gets",
    ),
    "window below": ({"a": source(), "b": sink("a", window=5)}, "stages.b.window: only a listener"),
    "when_full below": (
        {"a": source(), "b": sink("a", when_full="block")},
        "stages.b.when_full: only a listener",
    ),
    "dispatch": (
        {"a": source(), "b": sink("a", dispatch="key:")},
        "stages.b.dispatch: found 'key:'",
    ),
    "dispatch of a listener": ({"a": source(dispatch="key:x")}, "stages.a.dispatch: a listener"),
    "order of a listener": ({"a": source(order="source")}, "stages.a.order: a listener"),
    "retry without number": (
        {"a": source(), "b": sink("a", on_error="retry")},
        "stages.b.on_error: found 'retry'",
    ),
    "retry nothing": (
        {"a": source(), "b": sink("a", on_error="retry:0")},
        "stages.b.on_error: found 'retry:0'",
    ),
    "ordered replicas": (
        {"a": source(), "b": sink("a", order="source", replicas=2)},
        'stages.b.replicas: order = "source" needs one replica',
    ),
    "replicated subscriber": (
        {"a": source(), "b": operator(PUB_SUB, replicas=2)},
        "stages.b.replicas: the pub-sub link from a",
    ),
    "two keys for one message": (
        {"a": source(), "b": sink("a", dispatch="key:x"), "c": sink("a", dispatch="key:y")},
        "stages.c.dispatch: found the key 'y', but b, which takes a too, has 'x'",
    ),
    "listen without port": ({"a": source(listen="tcp://host")}, "stages.a.listen: found"),
    "listen beyond the ports": (
        {"a": source(listen="tcp://host:65534", replicas=2)},
        "stages.a.listen: the ports 65534 to 65537 are not all within 1 to 65535",
    ),
    "listen on the same port": (
        {"a": source(listen="tcp://h:6000", replicas=2), "b": sink("a", listen="tcp://h:6003")},
        "stages.b.listen: port 6003 belongs to stage a",
    ),
    "listen on any host": (
        {"a": source(listen="tcp://*:6000"), "b": sink("a", listen="tcp://h:6001")},
        "stages.b.listen: port 6001 belongs to stage a",
    ),
    "a variable's name": (
        {"a": source(env={"A=B": ""}), "b": sink("a")},
        "stages.a.env: found 'A=B', expected the name of a variable",
    ),
    "a variable without a name": (
        {"a": source(), "b": sink("a", env={"": "1"})},
        "stages.b.env: found '', expected the name of a variable",
    ),
    "a variable's value": (
        {"a": source(env={"A": "1\0"}), "b": sink("a")},
        "stages.a.env.A: found a zero byte",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_rule_is_one_sentence_with_its_place(case):
    stages, expected = BAD[case]
    found = problems_of(stages)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_chain_without_a_listener_is_told_so():
    assert problems_of({"a": operator("b"), "b": operator("a")})[0].startswith(
        "stages: found no listener"
    )


def test_the_chain_s_own_keys_have_rules_too():
    found = problems_of({"a": source()}, name="Powder", messages=["stages"], env={"A=B": ""})
    places = [problem.partition(":")[0] for problem in found]
    assert places == ["chain.name", "chain.messages[0]", "chain.env"]


def test_what_a_damaged_stage_lacks_is_not_complained_about():
    stages = {"a": source(), "b": StageTable(), "c": sink()}
    assert problems_of(stages, damaged=["b", "c"]) == []


def test_a_loop_is_named_in_the_direction_of_the_messages():
    stages = {
        "a": source(),
        "b": operator("a", "d"),
        "c": operator("b"),
        "d": operator("c"),
        "e": sink("d"),
    }
    assert problems_of(stages) == [
        "stages.b.inputs: the chain runs in a loop: b → c → d → b",
    ]


@given(
    st.lists(st.sets(st.integers(0, 7), min_size=1, max_size=3), min_size=8, max_size=8),
)
def test_a_loop_is_reported_exactly_when_there_is_one(inputs):
    """Compared with the plain way to tell: take away what has no inputs left, again and again."""
    stages = {"src": source()} | {
        f"s{number}": operator(*(f"s{above}" if above != number else "src" for above in found))
        for number, found in enumerate(inputs)
    }
    left = {name: set(table.inputs) for name, table in stages.items()}
    while free := [name for name, above in left.items() if not above & left.keys()]:
        for name in free:
            del left[name]
    assert any("loop" in problem for problem in problems_of(stages)) == bool(left)


def diamonds(count):
    """Each diamond doubles the ways from source to sink."""
    stages, above = {"src": source()}, "src"
    for number in range(count):
        stages[f"l{number}"] = operator(above)
        stages[f"r{number}"] = operator(above)
        stages[f"j{number}"] = operator(f"l{number}", f"r{number}")
        above = f"j{number}"
    return stages


def test_ways_from_a_source_are_limited():
    assert problems_of(diamonds(10)) == []
    (found,) = problems_of(diamonds(11))
    assert found.startswith("stages.src: found 2048 paths")
    assert MAX_PATHS == 1024


def test_pub_sub_links_are_no_ways_of_the_ledger():
    stages = diamonds(10)
    stages["live"] = sink(InputTable("j9", "pub-sub"))
    stages["file"] = sink("j9")
    assert problems_of(stages) == []


def test_where_metrics_are_served_is_a_host_and_a_port():
    stages = {"a": source()}
    assert problems_of(stages, http="127.0.0.1:9464") == []
    (problem,) = problems_of(stages, http="9464")
    assert problem.startswith("supervisor.http: found '9464', expected 'host:port'")


def test_a_hook_without_a_program_is_a_mistake():
    stages = {"a": source()}
    assert problems_of(stages, on_event=["mail", "shift"]) == []
    for nothing in ([], [""], OnEventTable([])):
        (problem,) = problems_of(stages, on_event=nothing)
        assert problem.startswith("supervisor.on_event: found no program")
    (problem,) = problems_of(stages, on_event=["mail", "shift\0"])
    assert problem.startswith("supervisor.on_event: found a zero byte")
