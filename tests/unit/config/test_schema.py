"""The JSON Schema of chain files, for editors."""

import json

import pytest

from arroyo.config.schema import ChainFile, render_schema


@pytest.fixture
def schema():
    return json.loads(render_schema())


def test_it_is_the_same_each_time_and_ends_with_a_line():
    assert render_schema() == render_schema()
    assert render_schema().endswith("}\n")


def test_it_says_which_schema_it_follows_and_where_it_begins(schema):
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["$ref"] == f"#/$defs/{ChainFile.__name__}"


def test_no_table_takes_unknown_keys(schema):
    tables = [each for each in schema["$defs"].values() if each.get("properties")]
    assert len(tables) >= 4
    assert all(table["additionalProperties"] is False for table in tables)
