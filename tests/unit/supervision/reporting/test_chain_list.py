import contextlib
import os
from datetime import UTC, datetime

import pytest
from played_replica import by_hand
from played_supervisor import CHAIN

from arroyo.config.reader import load_chain
from arroyo.config.run_directory import ChainNote, RunDirectory
from arroyo.control.locks import Lock
from arroyo.identifiers import ReplicaName
from arroyo.supervision.reporting.chain_list import chains_table, read_chains
from arroyo.supervision.reporting.status import read_status

ROW = {
    **{"chain": "saxs", "state": "READY", "pid": 17, "since": "2026-01-01T00:00:00+00:00"},
    **{"stages": 3, "stages_ready": 2, "restarts": 4, "file": "/saxs/chain.toml"},
}


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "ARROYO_RUN_DIR": str(tmp_path / "run")}


@pytest.fixture
def make(environ, tmp_path):
    def make(name):
        run_directory = RunDirectory.locate(name, environ)
        run_directory.create()
        run_directory.write_note(ChainNote(name, tmp_path / f"{name}.toml", tmp_path))
        return run_directory

    return make


def own(chains, *names):
    return [chain for chain in chains if chain["chain"] in names]


def test_chains_that_do_not_run_are_listed_by_name(make, environ, tmp_path):
    make("saxs")
    make("powder")
    powder, saxs = own(read_chains(environ), "saxs", "powder")
    assert (powder["chain"], saxs["chain"]) == ("powder", "saxs")
    assert saxs == {
        **dict.fromkeys(("pid", "since")),
        **{"chain": "saxs", "state": "STOPPED", "file": str(tmp_path / "saxs.toml")},
        **{"stages": 0, "stages_ready": 0, "restarts": 0},
        "run_directory": str(tmp_path / "run" / "saxs"),
    }


def test_a_supervisor_that_gives_no_answer_holds_up_nobody(make, environ):
    with contextlib.closing(_Held(make("saxs").lock("supervisor"))):
        (saxs,) = own(read_chains(environ, answer_s=0.05), "saxs")
    assert (saxs["state"], saxs["pid"]) == (None, os.getpid())
    assert abs(datetime.fromisoformat(saxs["since"]) - datetime.now(UTC)).days < 1


def test_a_stage_by_hand_is_seen_by_its_lock(make, environ):
    with contextlib.closing(_Held(make("saxs").lock("work.0"))):
        (saxs,) = own(read_chains(environ), "saxs")
    assert (saxs["state"], saxs["pid"], saxs["stages"]) == ("STARTING", None, 1)
    assert saxs["since"]


def test_stages_by_hand_are_as_the_status_has_them(make, environ, tmp_path):
    run_directory, file = make("saxs"), tmp_path / "saxs.toml"
    file.write_text(CHAIN.replace('"chain"', '"saxs"'))
    with (
        by_hand(run_directory, ReplicaName("images", 0)),
        by_hand(run_directory, ReplicaName("integrate", 0)),
    ):
        (saxs,) = own(read_chains(environ), "saxs")
        assert saxs["state"] == read_status(load_chain(file), environ)["state"] == "DEGRADED"
        assert (saxs["stages_ready"], saxs["stages"]) == (2, 3)
        file.write_text("no toml")
        (saxs,) = own(read_chains(environ), "saxs")
        assert (saxs["state"], saxs["stages"]) == ("READY", 2), "more is not known"


class _Held:
    def __init__(self, path):
        self.lock = Lock.acquire(path)

    def close(self):
        self.lock.release()


def test_the_table_says_how_many_stages_are_ready(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    stopped = dict.fromkeys(ROW) | {"chain": "powder", "state": "STOPPED", "restarts": 0}
    silent = ROW | {"chain": "xrf", "state": None, "stages": 0}
    lines = [line.split() for line in chains_table([stopped, ROW, silent]).splitlines()]
    assert lines[0] == ["chain", "state", "pid", "since", "ready", "restarts", "file"]
    assert lines[1] == ["powder", "STOPPED", "-", "-", "-", "0", "-"]
    assert lines[2][:3] == ["saxs", "READY", "17"]
    assert lines[2][-3:] == ["2/3", "4", "/saxs/chain.toml"]
    assert lines[3][1:3] == ["no", "answer"]


def test_a_host_without_chains_says_so():
    assert chains_table([]) == "no chain has run here as this user"
