"""`arroyo ps`: its two forms; what it reads is tested with `chain_list`."""

import json
import os

from click.testing import CliRunner

from arroyo.cli.commands.ps import command
from arroyo.config.run_directory import ChainNote, RunDirectory


def test_chains_are_listed_for_people_and_for_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("ARROYO_RUN_DIR", str(tmp_path / "run"))
    run_directory = RunDirectory.locate("saxs", os.environ)
    run_directory.create()
    run_directory.write_note(ChainNote("saxs", tmp_path / "chain.toml", tmp_path))
    table = CliRunner().invoke(command, [], catch_exceptions=False).output
    assert any(line.split()[:2] == ["saxs", "STOPPED"] for line in table.splitlines())
    rows = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).output)
    assert [row["state"] for row in rows if row["chain"] == "saxs"] == ["STOPPED"]


def test_a_stage_that_somebody_has_stopped_is_not_among_those_that_are_ready(played):
    rows = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).output)
    before = next((row["stages_ready"], row["stages"]) for row in rows if row["chain"] == "chain")
    played.history.stop_stage("integrate")
    played.end("integrate.0")
    rows = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).output)
    after = next((row["stages_ready"], row["stages"]) for row in rows if row["chain"] == "chain")
    assert (before, after) == ((3, 3), (2, 3))
