from pathlib import Path

from arroyo.config.graph import Input
from arroyo.config.reading.tables import Tables
from arroyo.config.reading.wiring import wire
from arroyo.config.schema import ChainTable, InputTable, StageTable, SupervisorTable

SOURCE = StageTable(listener="stages:Source")


def chain_of(problems=None, **stages):
    tables = Tables(ChainTable("powder"), stages, SupervisorTable(), frozenset())
    found = [] if problems is None else problems
    chain = wire(tables, Path("/chains/chain.toml"), found)
    assert problems is not None or found == []
    return chain


def test_inputs_are_named_or_say_more_in_a_table():
    sink = StageTable(publisher="stages:Sink", inputs=["a", InputTable("b", "pub-sub")])
    chain = chain_of(a=SOURCE, b=SOURCE, c=sink)
    assert chain.stages["c"].inputs == (Input("a"), Input("b", "pub-sub"))
    assert chain.folder == Path("/chains")


def test_what_a_source_leaves_out_is_as_the_graph_has_it():
    plain = chain_of(a=SOURCE).stages["a"]
    assert (plain.role, plain.window, plain.when_full) == ("listener", 65_536, "block")
    own = StageTable(listener="stages:Source", window=7, when_full="drop-newest")
    assert chain_of(a=own).stages["a"].window == 7


def test_keys_with_a_part_behind_a_colon_are_taken_apart():
    sink = StageTable(
        publisher="stages:Sink", inputs=["a"], on_error="retry:3", dispatch="key:frame"
    )
    stage = chain_of(a=SOURCE, b=sink).stages["b"]
    assert (stage.on_error, stage.retries, stage.dispatch_key) == ("retry", 3, "frame")


def test_a_command_makes_a_program():
    stage = chain_of(a=SOURCE, p=StageTable(command=["broker", "-v"])).stages["p"]
    assert (stage.role, stage.command, stage.target) == ("program", ("broker", "-v"), "")


def test_stages_whose_class_is_known_are_there_whatever_else_is_wrong():
    problems = []
    chain = chain_of(problems, a=SOURCE, b=StageTable(), c=StageTable(operator="no target"))
    assert list(chain.stages) == ["a"]
    assert problems
