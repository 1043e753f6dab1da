import os

import pytest
from supervised_histories import LINE, make_chain

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.errors import AlreadyRunningError, ConfigurationError
from arroyo.supervision.startup import supervise


@pytest.fixture
def lock_path():
    run_directory = RunDirectory.locate("chain", os.environ)
    run_directory.create()
    return run_directory.lock("supervisor")


def test_a_chain_has_one_supervisor(lock_path):
    lock = Lock.acquire(lock_path)
    try:
        with pytest.raises(AlreadyRunningError) as error:
            supervise(make_chain(LINE))
    finally:
        lock.release()
    assert str(error.value) == (
        f'chain "chain" is already running (supervisor pid {os.getpid()}); stop it first, or give '
        "this chain another name"
    )


def test_nothing_starts_of_a_chain_with_mistakes_and_the_lock_is_free_again(lock_path):
    with pytest.raises(ConfigurationError, match="no such module"):
        supervise(make_chain(LINE), check=lambda *_: ["no such module"])
    Lock.acquire(lock_path).release()
