import contextlib

import pytest

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.supervision.live.live_chain import LiveChain


@pytest.fixture
def environ(tmp_path):
    return {"ARROYO_RUN_DIR": str(tmp_path / "run"), "ARROYO_STATE_DIR": str(tmp_path / "state")}


@contextlib.contextmanager
def supervisor(environ):
    """A supervisor that does not answer; this process plays it."""
    directory = RunDirectory.locate("saxs", environ)
    directory.create()
    lock = Lock.acquire(directory.lock("supervisor"))
    try:
        yield
    finally:
        lock.release()


def replicate(chain_file, count):
    chain_file.write_text(f"{chain_file.read_text()}replicas = {count}\n")


def replicas_of(view):
    return [len(stage.replicas) for stage in view.stages]


def test_a_chain_that_has_never_run_is_waited_for(chain_file, environ):
    live = LiveChain(chain_file, environ)
    assert not live.look().runs
    with supervisor(environ):
        assert live.look().supervisor is not None
    assert live.look().supervisor is None


def test_a_chain_that_is_started_with_another_file_is_another_chain(chain_file, environ):
    live = LiveChain(chain_file, environ)
    assert replicas_of(live.look()) == [1, 1]
    replicate(chain_file, 3)
    with supervisor(environ):
        assert replicas_of(live.look()) == [1, 3]
