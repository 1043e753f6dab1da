"""`arroyo ps`: its two forms; what it reads is tested with `chain_list`."""

import json
import os
import shutil

from invoked import run_by

from arroyo.cli.commands import ps
from arroyo.config.run_directory import ChainNote, RunDirectory

run = run_by(ps.command)


def test_chains_are_listed_for_people_and_for_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("ARROYO_RUN_DIR", str(tmp_path / "run"))
    run_directory = RunDirectory.locate("saxs", os.environ)
    run_directory.create()
    run_directory.write_note(ChainNote("saxs", tmp_path / "chain.toml", tmp_path))
    table = run("--all")
    assert any(line.split()[:2] == ["saxs", "STOPPED"] for line in table.splitlines())
    rows = json.loads(run("--all", "--json"))
    assert [row["state"] for row in rows if row["chain"] == "saxs"] == ["STOPPED"]


def test_a_chain_that_does_not_run_is_listed_if_all_are_wanted_until_it_is_removed(
    chain_directory, played
):
    for arguments, found in (((), ["chain"]), (("--all",), ["chain", "saxs"])):
        rows = json.loads(run("--json", *arguments))
        assert [row["chain"] for row in rows if row["chain"] in ("chain", "saxs")] == found
    shutil.rmtree(next(row["run_directory"] for row in rows if row["chain"] == "saxs"))
    assert "saxs" not in run("--all", "--json")


def test_a_host_where_nothing_runs_says_how_the_others_are_listed(chain_directory, monkeypatch):
    monkeypatch.setattr(ps, "read_chains", lambda _: [{"pid": None, "state": "STOPPED"}])
    assert run() == "no chain runs here as this user; those that ran: arroyo ps --all\n"


def test_a_stage_that_somebody_has_stopped_is_not_among_those_that_are_ready(played):
    rows = json.loads(run("--json"))
    before = next((row["stages_ready"], row["stages"]) for row in rows if row["chain"] == "chain")
    played.history.stop_stage("integrate")
    played.end("integrate.0")
    rows = json.loads(run("--json"))
    after = next((row["stages_ready"], row["stages"]) for row in rows if row["chain"] == "chain")
    assert (before, after) == ((3, 3), (2, 3))
