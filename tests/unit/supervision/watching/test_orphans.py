import os

import pytest

from arroyo.supervision.watching.orphans import reap_orphans


@pytest.fixture
def ended():
    """Pids of two children that have ended and that nobody has taken note of."""
    pids = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(2)]
    for pid in pids:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pids
    for pid in pids:
        if is_left(pid):
            os.waitpid(pid, 0)


def is_left(pid):
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return False


def test_orphans_are_reaped(ended):
    reap_orphans(own=())
    assert not any(map(is_left, ended))


def test_the_status_of_our_own_children_is_left_to_who_started_them(ended):
    reap_orphans(own=ended)
    assert all(map(is_left, ended))


def test_without_children_there_is_nothing_to_do():
    reap_orphans(own=())
