"""The pages beside the code name what is there: files, records and their fields, words."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from arroyo.codec import PROTOCOL_VERSION, records
from arroyo.config.event_names import EventName

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "arroyo"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PACKAGE.rglob("*.md")]
RECORDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and issubclass(kind, records._Record) and kind is not records._Record
]
# Of the commands, the benchmark and what users' tests need, the map names the folders only.
NAMED_BY_FOLDER = {"bench", "cli", "testing"}


def read(page):
    return (PACKAGE / page).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_to_is_there(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (page.parent / target).exists(), target


def files_on_the_map():
    for row in re.findall(r"^\| [^|]+ \| (.+) \|$", read("README.md"), re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", row):
            # In a row the folder is said once.
            folder = name.rpartition("/")[0] or folder
            yield f"{folder}/{name.rpartition('/')[2]}".lstrip("/")


def test_each_file_that_the_map_names_is_there():
    assert [name for name in files_on_the_map() if not (PACKAGE / name).exists()] == []


def test_each_public_module_is_on_the_map():
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    wanted = {
        str(module)
        for module in modules
        if not module.name.startswith("_") and module.parts[0] not in NAMED_BY_FOLDER
    }
    assert wanted - set(files_on_the_map()) == set()


def test_the_layers_are_those_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = (each["layers"] for each in contracts["contracts"] if each["id"] == "layers")
    drawn = read("README.md").partition("## Layers")[2].partition("```\n")[2].partition("```")[0]
    assert [re.split(r"\s{2,}", line)[0] for line in drawn.splitlines()] == layers


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_each_record_is_described_with_its_number_and_fields(record):
    number, fields = record.__struct_config__.tag, ", ".join(record.__struct_fields__)
    assert f"| {number} | `{record.__name__}` | {fields} |" in read("PROTOCOL.md")


def test_each_field_of_a_batch_is_explained():
    text = read("PROTOCOL.md").partition("Fields of a batch:")[2].partition("**Path numbers**")[0]
    explained = {
        name
        for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
        for name in cell.split(", ")
    }
    assert explained >= set(records.Batch.__struct_fields__) - {"kind"}


def test_each_event_is_explained():
    text = read("supervision/README.md").partition("## Events")[2].partition("## Stopping")[0]
    assert set(re.findall(r"`([a-z-]+)`", text)) >= set(get_args(EventName))


def test_the_version_of_the_protocol_is_the_codes():
    assert f"`PROTOCOL_VERSION = {PROTOCOL_VERSION}`" in read("PROTOCOL.md")


def test_the_rules_are_numbered_without_gaps():
    numbers = [
        int(number) for number in re.findall(r"^(\d+)\. ", read("PROTOCOL.md"), re.MULTILINE)
    ]
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_word_is_defined_once():
    defined = re.findall(
        r"^\*\*([a-z][a-z ]*)\*\*:", read("GLOSSARY.md").partition("## Words with several")[0], re.M
    )
    assert sorted(defined) == sorted(set(defined))


def test_the_index_names_every_decision():
    index = set(re.findall(r"\(decisions/([\w-]+\.md)\)", read("README.md")))
    assert index == {page.name for page in (PACKAGE / "decisions").iterdir()}


RULE_ROW = re.compile(r"^\| ([\d, to]+) \| [^|]* \| (.+) \|$", re.MULTILINE)


def test_each_rule_of_the_protocol_has_a_file_that_keeps_it():
    rules = {int(number) for number in re.findall(r"^(\d+)\. ", read("PROTOCOL.md"), re.MULTILINE)}
    kept = set()
    for numbers, files in RULE_ROW.findall(read("protocol/README.md")):
        for part in numbers.split(","):
            first, _, last = part.strip().partition(" to ")
            kept |= set(range(int(first), int(last or first) + 1))
        for name in re.findall(r"`([\w./]+\.py)`", files):
            assert (PACKAGE / "protocol" / name).exists(), name
    assert rules - kept == set()
