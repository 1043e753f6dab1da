"""README.md: its operator, chain file and test do what the text around them says."""

import re
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import arroyo
from arroyo import Event, Start, Stop
from arroyo.cli.main import COMMANDS
from arroyo.cli.main import arroyo as command
from arroyo.supervision.reporting.status_table import status_table
from arroyo.testing import InMemoryLink

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def block(language, mark):
    """The one block of README.md in `language` that has `mark` in it."""
    (found,) = (text for kind, text in BLOCKS if kind == language and mark in text)
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "profiles.py").write_text(block("python", "class Profile"))
    (tmp_path / "chain.toml").write_text(block("toml", "[chain]"))
    monkeypatch.setenv("LIVE_PORT", "0")
    monkeypatch.setenv("RATE_HZ", "10000")
    return tmp_path


def output(*arguments):
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    return result.exit_code, result.output


def test_the_chain_has_no_mistake(folder):
    assert output("check", folder / "chain.toml") == (
        0,
        "profiles: no mistakes found (4 stages, 5 processes)\n",
    )


def test_a_misspelt_key_is_answered_as_shown(folder, monkeypatch):
    chain = folder / "chain.toml"
    chain.write_text(chain.read_text().replace("options = { events", "optons = { events"))
    monkeypatch.chdir(folder)
    assert output("check", "chain.toml") == (78, block("", "optons"))


def test_the_drawing_is_what_the_command_draws(folder):
    assert output("graph", folder / "chain.toml") == (0, block("", "└─▶"))


def test_the_status_has_the_columns_that_are_shown():
    row = defaultdict(lambda: None, stage="file", replica=0)
    nothing = dict.fromkeys(("supervisor", "latency_p50_s", "latency_p99_s"))
    nothing["quarantine"] = {"messages": 0, "bytes": 0}
    nothing["parameters"] = {}
    nothing["file_changed"] = nothing["supervisor_answers"] = None
    table = status_table({"chain": "profiles", "state": "READY", "stages": [row], **nothing})
    shown = block("", "READY (supervisor")
    assert shown.splitlines()[1].split() == table.splitlines()[1].split()


def test_the_chain_writes_each_profile(folder):
    arroyo.run(folder / "chain.toml")
    (found,) = folder.glob("profiles-*.h5")
    with h5py.File(found) as file:
        assert file["entry/written"][()].tolist() == [1] * 500
        assert file["entry/data/data"].shape == (500, 256)


def test_the_test_of_a_stage_passes(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    names = {}
    exec(compile(block("python", "InMemoryLink"), "README.md", "exec"), names)  # the README itself
    names["test_a_profile_has_one_sum_per_column"]()


def test_the_sum_of_ten_images_runs_as_printed():
    names = {}
    exec(compile(block("python", "class Sum"), "README.md", "exec"), names)  # the README itself
    events = [Event.from_array(np.full((2, 3), number)) for number in range(12)]
    with InMemoryLink(names["Sum"]()) as link:
        _, *sums, _ = link.process_all([Start(), *events, Stop()])
    assert [each.array.tolist() for each in sums] == [[[45] * 3] * 2, [[21] * 3] * 2]


def test_many_messages_at_once_are_normalised_as_printed():
    names = {}
    exec(
        compile(block("python", "class Normalise"), "README.md", "exec"), names
    )  # the README itself
    events = [Event({"counts": 10 * beam, "beam": beam}) for beam in (0, 2, 5)]
    results = names["Normalise"]().process_batch(events)
    assert [each.metadata["normal"] for each in results] == [0, 10, 10]
    with InMemoryLink(names["Normalise"]()) as link:
        start, *same, stop = link.process_all([Start(), *events, Stop()])
    assert [each.metadata for each in same] == [each.metadata for each in results]
    assert (type(start), type(stop)) == (Start, Stop)


def test_every_command_is_named(folder):
    table = README.read_text("utf-8").partition("## Commands")[2].partition("##")[0]
    assert set(re.findall(r"`arroyo (\w+)", table)) == set(COMMANDS)
