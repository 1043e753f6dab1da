import os

import msgspec
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


def test_no_copy_of_a_chain_file_is_left(lock_path):
    folder = lock_path.parents[1] / "version"
    (folder / "former.toml").touch()  # by one that was killed
    copies = []

    def check(_, copy):
        copies.append(copy.read_text())
        copies.extend(each for each in folder.iterdir() if each != copy)
        return ["no such module"]

    with pytest.raises(ConfigurationError):
        supervise(msgspec.structs.replace(make_chain(LINE), text="[chain]"), check=check)
    assert copies == ["[chain]"]
    assert list(folder.iterdir()) == []
