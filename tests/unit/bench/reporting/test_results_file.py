"""Where results are saved, line by line."""

import json
import re

import pytest

from arroyo.bench.reporting.results_file import open_results
from arroyo.errors import ConfigurationError


def test_each_entry_is_a_line_at_once(tmp_path):
    with open_results(tmp_path / "new" / "results") as results:
        results.note({"n": 1})
        results.note(["two"])
        lines = results.path.read_text().splitlines()
    assert list(map(json.loads, lines)) == [{"n": 1}, ["two"]]
    assert re.fullmatch(r"\d{8}T\d{6}Z\.jsonl", results.path.name)


def test_without_a_folder_nothing_is_saved():
    with open_results(None) as results:
        results.note({"n": 1})
    assert results.path is None


def test_a_folder_that_can_not_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(ConfigurationError, match=r"can't be written: .*; give --save a folder")
    with refused, open_results(tmp_path / "file"):
        pass
