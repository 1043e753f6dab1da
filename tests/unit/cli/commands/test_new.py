import sys

import pytest
from click.testing import CliRunner
from outside import Recorder
from small_disk import small_files

from arroyo.cli.commands.new import command
from arroyo.config.reader import load_chain
from arroyo.runner.user_code.checking import check_in_child
from arroyo.runner.user_code.loading import build_listener, build_stage


def new(*arguments):
    return CliRunner(env={"ARROYO_DEBUG": ""}).invoke(command, [str(each) for each in arguments])


def test_the_new_chain_has_no_mistakes(tmp_path):
    folder = tmp_path / "first_chain"
    result = new(folder)
    assert result.exit_code == 0
    assert f"arroyo-supervise {folder / 'chain.toml'}" in result.stdout
    assert check_in_child(folder / "chain.toml") == []
    assert load_chain(folder / "chain.toml", {}).name == "first_chain"


@pytest.mark.parametrize(
    ("folder", "name"), [("BL 31: SAXS", "bl-31-saxs"), ("2nd", "nd"), ("a.b", "a-b")]
)
def test_the_chain_has_the_folder_s_name_as_far_as_that_can_be_one(tmp_path, folder, name):
    assert new(tmp_path / folder).exit_code == 0
    assert load_chain(tmp_path / folder / "chain.toml", {}).name == name


def test_another_name_can_be_given(tmp_path):
    new(tmp_path / "x", "--name", "powder")
    assert load_chain(tmp_path / "x" / "chain.toml", {}).name == "powder"


@pytest.mark.parametrize("arguments", [["1"], ["x", "--name", "No"]])
def test_a_name_that_can_not_be_one_is_a_usage_error(tmp_path, arguments):
    result = new(tmp_path / arguments[0], *arguments[1:])
    assert result.exit_code == 64
    assert "can't name a chain" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_folder_that_one_is_in_has_a_name_as_well(tmp_path, monkeypatch):
    (tmp_path / "99").mkdir()
    monkeypatch.chdir(tmp_path / "99")
    assert new(".").stderr == "error: '99' can't name a chain; give it one with --name\n"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "stages.py").write_text("mine")
    result = new(tmp_path)
    assert (result.exit_code, result.stderr) == (
        64,
        f"error: {tmp_path} is not empty; name a new folder\n",
    )
    assert (tmp_path / "stages.py").read_text() == "mine"


def test_a_folder_that_can_not_be_made_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert new(tmp_path / "file" / "chain").exit_code == 64


def test_the_new_chain_s_stages_do_what_its_readme_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    new(tmp_path / "first")
    chain = load_chain(tmp_path / "first" / "chain.toml", {})
    recorder = Recorder()
    build_listener(chain, chain.stages["readings"], recorder).start()
    rate = build_stage(chain, chain.stages["rate"])
    table = build_stage(chain, chain.stages["table"])
    table.open()
    for message in recorder.messages:
        table.publish(rate.process(message))
    table.close()
    lines = (tmp_path / "rates.txt").read_text().splitlines()
    assert len(lines) == 100
    assert lines[1] == "1\t10370.0"


def test_a_full_disk_leaves_nothing_and_it_can_be_tried_again(tmp_path):
    with small_files(1000):
        result = new(tmp_path)
    assert (result.exit_code, result.stderr) == (
        64,
        f"error: {tmp_path} can't be written: File too large\n",
    )
    assert list(tmp_path.iterdir()) == []
    assert new(tmp_path, "--name", "powder").exit_code == 0
