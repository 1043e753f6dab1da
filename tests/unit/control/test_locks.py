import os
import stat
import subprocess
import sys
import threading

import pytest

from arroyo.control.locks import Lock, owner
from arroyo.errors import AlreadyRunningError, ConfigurationError

HOLD = """
import sys
from pathlib import Path
from arroyo.control.locks import Lock
lock = Lock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "integrate.0"


@pytest.fixture
def holder(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_that_was_never_taken_has_no_owner_and_no_file(path):
    assert owner(path) is None
    assert not path.exists()


def test_a_held_lock_is_owned_by_this_process_and_private(path):
    lock = Lock.acquire(path)
    assert owner(path) == os.getpid()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lock.release()
    assert owner(path) is None


def test_a_second_holder_in_this_process_is_refused(path):
    lock = Lock.acquire(path)
    with pytest.raises(AlreadyRunningError, match=f"already running as pid {os.getpid()};"):
        Lock.acquire(path)
    lock.release()


def test_a_second_process_is_refused_and_told_the_owner(path, holder):
    assert owner(path) == holder.pid
    with pytest.raises(AlreadyRunningError, match=rf"integrate\.0 is .* as pid {holder.pid};"):
        Lock.acquire(path)


def test_asking_for_the_owner_does_not_drop_the_lock(path):
    lock = Lock.acquire(path)
    owner(path)
    linked = path.with_name("other-name")
    os.link(path, linked)
    owner(linked)
    question = f"from arroyo.control.locks import owner; from pathlib import Path\n\
print(owner(Path({str(path)!r})))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, check=True)
    assert int(answer.stdout) == os.getpid()
    lock.release()


def test_a_killed_holder_leaves_the_lock_free(path, holder):
    holder.kill()
    holder.wait()
    assert owner(path) is None
    Lock.acquire(path).release()


def test_a_child_process_does_not_inherit_the_lock(path):
    lock = Lock.acquire(path)
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        lock.release()
        assert owner(path) is None
        child.stdin.close()


def test_releasing_twice_does_not_release_the_next_holder(path):
    first = Lock.acquire(path)
    first.release()
    second = Lock.acquire(path)
    first.release()
    assert owner(path) == os.getpid()
    second.release()


def test_a_holder_can_tell_that_its_file_was_removed_or_replaced(path):
    lock = Lock.acquire(path)
    assert lock.is_in_place
    path.unlink()
    assert not lock.is_in_place
    path.touch()
    assert not lock.is_in_place
    lock.release()


def test_the_lock_outlives_the_thread_that_took_it(path):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(Lock.acquire(path)))
    thread.start()
    thread.join()
    assert owner(path) == os.getpid()
    taken[0].release()


def test_a_lock_file_that_can_not_be_made_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        Lock.acquire(tmp_path / "missing" / "integrate.0")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        owner(tmp_path / "file" / "integrate.0")
