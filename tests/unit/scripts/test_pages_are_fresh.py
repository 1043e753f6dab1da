"""The pages that scripts/pages.py makes are as it would make them now."""

import inspect
import re

import msgspec
import pages
import pytest

import arroyo.connectors
from arroyo.config.schema import ChainTable, InputTable, StageTable, SupervisorTable, render_schema
from arroyo.metrics.descriptions import METRICS

HOW = "run scripts/pages.py"
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*) \|$", re.MULTILINE)


def test_the_page_on_the_chain_file_is_fresh():
    assert pages.CHAIN_FILE.read_text("utf-8") == pages.render_chain_file(), HOW


def test_the_json_schema_is_fresh():
    assert pages.JSON_SCHEMA.read_text("utf-8") == render_schema(), HOW


def test_the_page_on_connectors_is_fresh():
    page = pages.CONNECTORS.read_text("utf-8")
    assert page == pages.render_connectors(page), HOW


def test_the_page_on_metrics_is_fresh_and_has_all_of_them():
    page = pages.METRICS_PAGE.read_text("utf-8")
    assert page == pages.render_metrics(page), HOW
    rows = re.findall(r"^\| `(arroyo_\w+)` \|", page, re.MULTILINE)
    assert rows == [each.shown_name for each in METRICS]


@pytest.mark.parametrize("name", arroyo.connectors.__all__)
def test_each_option_of_a_connector_is_in_its_table(name):
    connector = getattr(arroyo.connectors, name)
    rows = pages.options_table(connector).splitlines()
    shown = {option for row in rows for option in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert shown == set(inspect.signature(connector).parameters) - {"operator"}
    assert f"<!-- options of {name} -->" in pages.CONNECTORS.read_text("utf-8")


@pytest.mark.parametrize("table", [ChainTable, InputTable, StageTable, SupervisorTable])
def test_each_key_of_a_chain_file_is_on_the_page(table):
    keys = {key for key, *_ in ROW.findall(pages.render_chain_file())}
    assert set(table.__struct_fields__) <= keys


def test_each_key_says_what_it_means():
    rows = ROW.findall(pages.render_chain_file())
    assert [key for key, _, _, meaning in rows if not meaning.strip()] == []


def test_rows_name_types_bounds_and_defaults():
    rows = {
        key: (kind, default) for key, kind, default, _ in ROW.findall(pages.render_chain_file())
    }
    assert rows["replicas"] == ("whole number (1 to 1024)", "`1`")
    assert rows["order"] == ('`"any"` or `"source"`', '`"any"`')
    assert rows["process_timeout_s"] == ("duration", "`30.0`")
    assert rows["inputs"] == ("list of text or table", "none")
    assert rows["name"] == ("text", "required")
    assert rows["window"] == ("whole number (1 or more)", "none")


def test_the_defaults_on_the_page_are_those_of_the_tables():
    stage = msgspec.structs.asdict(StageTable())
    rows = {key: default for key, _, default, _ in ROW.findall(pages.render_chain_file())}
    assert rows["backoff_s"] == f"`{stage['backoff_s']}`"
    assert rows["on_error"] == f'`"{stage["on_error"]}"`'
