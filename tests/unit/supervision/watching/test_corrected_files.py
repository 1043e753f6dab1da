import os

import pytest
from descriptors import none_left
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName
from arroyo.supervision.watching.corrected_files import LOOK_EVERY_S, CorrectedFiles, files_of

NAME = ReplicaName("integrate", 0)


@pytest.fixture
def corrections(tmp_path):
    (tmp_path / "chain.toml").write_text("")
    (tmp_path / "own.py").write_text("class Class: pass")
    options = {"mask": {"files": ["mask.npy", 3]}, "mode": "fast"}
    chain = make_chain(LINE, integrate={"target": "own:Class", "options": options})
    chain = type(chain)("chain", tmp_path, tmp_path / "chain.toml", chain.stages)
    made = CorrectedFiles(chain)
    made.note(NAME)
    return made


def write_anew(path):
    """As an editor does: another file takes the place of the old one."""
    draft = path.with_suffix(".draft")
    draft.write_text("corrected")
    os.replace(draft, path)


@pytest.mark.parametrize("file", ["own.py", "helper.py", "mask.npy"])
def test_a_file_that_was_corrected_or_put_there_is_seen(corrections, tmp_path, file):
    assert corrections.look([NAME], 0.0) == []
    write_anew(tmp_path / file)
    assert corrections.look([NAME], LOOK_EVERY_S) == [(NAME, file)]


def test_the_chain_file_is_none_of_them_since_stages_read_it_at_a_reload_only(
    corrections, tmp_path
):
    write_anew(tmp_path / "chain.toml")
    assert corrections.look([NAME], 0.0) == []


def test_what_the_chain_itself_writes_is_no_correction(corrections, tmp_path):
    (tmp_path / "patterns.h5").write_text("data")
    assert corrections.look([NAME], 0.0) == []


def test_a_module_elsewhere_is_found_as_python_finds_it(tmp_path, monkeypatch):
    package = tmp_path / "elsewhere" / "beamline" / "stages"
    package.mkdir(parents=True)
    (package / "azint.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    chain = make_chain(LINE, integrate={"target": "beamline.stages.azint:Class"})
    chain = type(chain)("chain", tmp_path, tmp_path / "chain.toml", chain.stages)
    corrections = CorrectedFiles(chain)
    corrections.note(NAME)
    write_anew(package / "azint.py")
    assert corrections.look([NAME], 0.0) == [(NAME, "azint.py")]


def test_a_supervisor_without_descriptors_knows_of_fewer_files_for_a_while(corrections, tmp_path):
    with none_left():
        corrections.note(NAME)
    corrections.note(NAME)
    write_anew(tmp_path / "own.py")
    assert corrections.look([NAME], 0.0) == [(NAME, "own.py")]


def test_nobody_looks_more_often_than_needed(corrections, tmp_path):
    corrections.look([NAME], 0.0)
    write_anew(tmp_path / "own.py")
    assert corrections.look([NAME], LOOK_EVERY_S / 2) == []
    assert corrections.look([], LOOK_EVERY_S) == []


def test_a_program_is_corrected_in_the_files_that_its_command_names(tmp_path):
    command = ("./serve", "--config", "serve.ini")
    stage = Stage("server", "program", "", command=command)
    chain = Chain("c", tmp_path, tmp_path / "chain.toml", {"server": stage})
    found = files_of(chain, stage)
    assert {tmp_path / "serve", tmp_path / "serve.ini"} <= set(found)
