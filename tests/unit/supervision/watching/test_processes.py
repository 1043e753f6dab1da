"""Processes of a chain, each a small function of a module that the test writes."""

import json
import os
import select
import signal
import sys

import pytest
from chains import is_gone, wait_until

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Stage
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.supervision.watching.child import ACCEPTED_COPY, SAFE_PATH_MARK
from arroyo.supervision.watching.processes import Exit, Spawner

WORK = ReplicaName("work", 1)
STAGE = """
import json, os, resource, select, signal, subprocess, sys

def tell(chain, name, run, state, lifeline):
    found = {
        "words": [chain, name, run, state],
        "environ": dict(os.environ),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "supervisor lives": not select.select([lifeline], [], [], 0)[0],
    }
    with open(os.path.join(run, "told"), "w") as file:
        json.dump(found, file)
    sys.exit(3)

def wait(chain, name, run, state, lifeline):
    select.select([lifeline], [], [])

def leave_a_child(chain, name, run, state, lifeline):
    os.setsid()
    child = subprocess.Popen(["sleep", "60"])
    with open(os.path.join(run, "told"), "w") as file:
        file.write(str(child.pid))

def abort(chain, name, run, state, lifeline):
    os.abort()

def dump_core(chain, name, run, state, lifeline):
    os.chdir(run)
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    os.abort()
"""


@pytest.fixture
def spawn(tmp_path, monkeypatch):
    """Start a replica of a stage whose process is one of the functions above."""
    (tmp_path / "process_of_a_test.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    folders = Folders.at(str(tmp_path), str(tmp_path / "state"))

    def start(function, chain_env=(), text="", **keys):
        stages = {"work": Stage("work", "operator", "own:Work", replicas=2, **keys)}
        path = tmp_path / "c.toml"
        chain = Chain("c", tmp_path, path, stages, env=dict(chain_env), text=text)
        import process_of_a_test

        environ = {"PYTHONPATH": str(tmp_path), "OF_ALL": "supervisor"}
        return Spawner(chain, folders, environ, getattr(process_of_a_test, function)).spawn(WORK)

    return start


def end_of(process):
    select.select([process], [], [])
    return process.reap()


@pytest.fixture
def told(spawn, tmp_path):
    """What a process has found where it was started, and how it ended."""

    def start(**keys):
        assert end_of(spawn("tell", **keys)) == Exit(3)
        return json.loads((tmp_path / "told").read_text())

    return start


def test_a_process_gets_paths_and_names_and_a_lifeline(told, tmp_path):
    found = told()
    paths = [str(tmp_path / name) for name in ("c.toml", "", "state")]
    assert found["words"] == [paths[0], "work.1", str(tmp_path), paths[2]]
    assert found["supervisor lives"]


def test_its_environment_is_the_supervisors_the_chains_and_its_own(told):
    before = dict(os.environ)
    environ = told(chain_env={"A": "chain", "B": "chain", "OF_ALL": "chain"}, env={"B": "stage"})[
        "environ"
    ]
    assert (environ["A"], environ["B"], environ["OF_ALL"]) == ("chain", "stage", "supervisor")
    assert environ["PYTHONSAFEPATH"] == SAFE_PATH_MARK
    assert dict(os.environ) == before


def test_a_users_own_safe_path_is_left_as_it_is(told, monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert told()["environ"]["PYTHONSAFEPATH"] == "1"


def test_its_libraries_find_how_many_threads_to_start_when_they_are_loaded(told):
    assert told(cpus=(0, 1))["environ"]["OPENBLAS_NUM_THREADS"] == "2"


def test_ctrl_c_does_not_reach_it_before_it_has_left_our_session(told):
    assert signal.SIGINT in told()["blocked"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_ends_it_and_one_that_comes_too_late_is_no_error(spawn):
    process = spawn("wait")
    process.send(signal.SIGTERM)
    select.select([process], [], [])
    process.send(signal.SIGTERM)
    assert process.reap() == Exit(-signal.SIGTERM)


def test_an_abort_is_told_with_its_signal(spawn):
    assert end_of(spawn("abort")).status == -signal.SIGABRT


def test_a_core_that_was_dumped_is_told_of(spawn, tmp_path):
    code = "import resource as r, os; most = r.getrlimit(r.RLIMIT_CORE)[1]; "
    code += f"os.chdir({str(tmp_path)!r}); r.setrlimit(r.RLIMIT_CORE, (most, most)); os.abort()"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status = os.waitpid(pid, 0)
    if not os.WCOREDUMP(status):
        pytest.skip("allow cores: raise the hard limit of ulimit -c, and write them to files")
    assert end_of(spawn("dump_core")) == Exit(-signal.SIGABRT, dumped_core=True)


def test_what_it_leaves_in_its_group_ends_with_it(spawn, tmp_path):
    process = spawn("leave_a_child")
    select.select([process], [], [])
    child = int((tmp_path / "told").read_text())
    assert not is_gone(child)
    assert process.reap() == Exit(0)
    wait_until(lambda: is_gone(child))


def test_a_process_is_told_of_the_copy_of_the_chain_file_that_was_accepted(told, tmp_path):
    assert ACCEPTED_COPY not in told()["environ"], "a chain of no file has none"
    accepted = RunDirectory(tmp_path).version("the text")
    assert told(text="the text")["environ"][ACCEPTED_COPY] == str(accepted)
