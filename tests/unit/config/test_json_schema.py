from importlib.resources import files

from arroyo.config.json_schema import render_schema


def test_the_committed_schema_is_fresh():
    committed = files("arroyo.config").joinpath("chain.schema.json").read_text("utf-8")
    assert committed == render_schema(), "run: arroyo schema > arroyo/config/chain.schema.json"
