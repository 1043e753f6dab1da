import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from chains import wait_until

from arroyo.config.folders import Folders
from arroyo.supervision.watching.replica_files import last_error

CODE = (
    "import sys; from arroyo.metrics.http_child import main; main(*sys.argv[1:5], int(sys.argv[5]))"
)
CHAIN = """
[chain]
name = "small"
[stages.images]
listener = "module:Class"
[supervisor]
http = "127.0.0.1:0"
"""


@pytest.fixture
def folders():
    folders = Folders.locate("small", os.environ)
    folders.create()
    return folders


@pytest.fixture
def log(folders):
    return folders.run.log("metrics")


@pytest.fixture
def started(tmp_path, folders):
    """Start it as a supervisor does; gives the process and our end of its lifeline."""

    @contextmanager
    def started(text):
        path = tmp_path / "chain.toml"
        path.write_text(text)
        words = [path, "metrics", folders.run.path, folders.state.path]
        lifeline, ours = os.pipe()
        command = [sys.executable, "-c", CODE, *map(str, words), str(lifeline)]
        with subprocess.Popen(command, pass_fds=[lifeline]) as process:
            os.close(lifeline)
            yield process, ours

    return started


def test_it_serves_until_its_supervisor_is_gone(started, log):
    with started(CHAIN) as (process, ours):
        wait_until(lambda: log.exists() and "serving chain small at http://" in log.read_text())
        assert process.poll() is None
        os.close(ours)
        assert process.wait(60) == 0


def test_what_is_wrong_is_in_its_log_and_in_its_exit_code(started, log):
    with started(CHAIN + "nonsense = 1\n") as (process, ours):
        assert process.wait(60) == 78
        os.close(ours)
    assert "supervisor.nonsense: there is no such key" in last_error(log, process.pid)
