"""How a stage's process begins and ends, as far as that can be seen without one."""

import subprocess
import sys

import pytest
from stage_fakes import ScriptedContext, line_of

from arroyo import Event, IteratingListener, Operator, Publisher
from arroyo.config.folders import Folders
from arroyo.control.locks import Lock
from arroyo.errors import UnavailableError, UsageError
from arroyo.runner.process import stage_process
from arroyo.runner.process.stage_process import FromSupervisor, make_shell, run_stage
from arroyo.runner.relay.relay_process import RelayProcess
from arroyo.runner.source.source_process import SourceProcess

CHAIN = """
[chain]
name = "line"

[stages.src]
listener = "own:Src"

[stages.sink]
publisher = "own:Sink"
inputs = ["src"]
"""


class Src(IteratingListener):
    def messages(self):
        yield Event()


class Works(Operator):
    def process(self, message):
        return message


class Sink(Publisher):
    def publish(self, message):
        pass


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Write the chain file, with folders of its own; returns its path."""
    for name in ("RUN", "STATE"):
        monkeypatch.setenv(f"ARROYO_{name}_DIR", str(tmp_path / name))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return str(path)


@pytest.mark.parametrize(
    ("stage", "replica", "told"),
    [
        ("snik", 0, "error: chain line has no stage 'snik'; did you mean 'sink'?"),
        ("sink", 1, "error: stage sink has the replicas 0 to 0, there is no replica 1"),
    ],
)
def test_a_stage_that_is_not_there_is_told_before_there_is_a_log(
    chain, capsys, stage, replica, told
):
    assert run_stage(chain, stage, replica) == UsageError.exit_code
    assert told in capsys.readouterr().err


def test_nothing_is_printed_where_the_supervisor_hears_it(chain, capsys):
    assert (
        run_stage(chain, "snik", 0, FromSupervisor(Folders.locate("line", {"HOME": "/"}), 0))
        == UsageError.exit_code
    )
    assert capsys.readouterr().err == ""


def test_one_that_runs_already_is_left_alone(chain, capsys, tmp_path):
    found = stage_process.RunDirectory.locate("line", {"ARROYO_RUN_DIR": str(tmp_path / "RUN")})
    found.create()
    lock = Lock.acquire(found.lock(stage_process.ReplicaName("sink", 0)))
    try:
        assert run_stage(chain, "sink", 0) == UnavailableError.exit_code
    finally:
        lock.release()
    assert "is already running" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "made", "kind"),
    [("src", None, SourceProcess), ("work", Works(), RelayProcess), ("sink", None, RelayProcess)],
)
def test_a_listener_has_one_loop_and_all_others_have_the_other(tmp_path, name, made, kind):
    chain = line_of(
        tmp_path,
        ("listener", "src", f"{__name__}:Src", {}),
        ("operator", "work", f"{__name__}:Works", {}),
        ("publisher", "sink", f"{__name__}:Sink", {}),
    )
    with ScriptedContext(chain, name, lambda action: ()) as context:
        assert type(make_shell(context, made)) is kind
        context.runs.close()


def test_a_process_leaves_though_a_thread_of_the_stage_stays():
    """With what libraries have registered for the end, and what was printed."""
    script = """
import atexit, threading
from arroyo.runner.process.stage_process import leave
threading.Thread(target=threading.Event().wait).start()
atexit.register(lambda: print("farewell", flush=True))
print("printed", end=" ")
leave(7)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (7, "printed farewell\n")
