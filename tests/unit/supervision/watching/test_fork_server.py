"""A fork server as the supervisor sees it: it may die, stand still, or never be there."""

import os
import signal
import time

import psutil
import pytest
from chains import is_gone, wait_until
from forked_stages import end_of, is_forked, server_of, start

from arroyo.supervision.watching import orphans
from arroyo.supervision.watching.processes import SERVERS, Exit


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONNODEBUGRANGES", "LD_BIND_NOW"])
def test_what_an_interpreter_looks_at_when_it_starts_asks_for_one(make, name):
    process = start(make("wait", env={name: "1"}))
    wait_until(lambda: "work.0" in psutil.Process(process.pid).cmdline(), "it has begun")
    assert not is_forked(process)
    process.send(signal.SIGKILL)
    end_of(process)


def test_while_there_is_no_server_stages_are_spawned_and_then_there_is_one_again(make):
    spawner = make("wait")
    running = [start(spawner, 0)]
    first = server_of(spawner)
    first.kill()
    running.append(start(spawner, 1))
    assert spawner._server is not None
    assert spawner._server.pid != first.pid
    wait_until(lambda: "work.1" in psutil.Process(running[-1].pid).cmdline(), "it has begun")
    assert not is_forked(running[-1])
    assert spawner._server.wait(60)
    running.append(start(spawner, 2))
    wait_until(lambda: is_forked(running[-1]), "it is forked")
    assert is_gone(first.pid)
    for process in running:
        process.send(signal.SIGKILL)
        assert end_of(process) == Exit(-signal.SIGKILL)


def test_a_server_that_stands_still_is_given_up(make, monkeypatch):
    monkeypatch.setattr("arroyo.supervision.watching.fork_server.ANSWER_S", 0.2)
    spawner = make("wait")
    first = start(spawner, 0)
    server = server_of(spawner)
    server.suspend()
    second = start(spawner, 1)
    assert is_gone(server.pid)
    for process in (first, second):
        process.send(signal.SIGKILL)
        assert end_of(process) == Exit(-signal.SIGKILL)
    assert_no_stage_is_left()


def test_a_server_that_never_gets_ready_is_not_started_for_ever(make):
    spawner = make("wait", chain_env={"PYTHONHOME": "/nowhere"})
    spawned = []
    for replica in range(SERVERS + 2):
        server = spawner._server
        if server is not None:
            wait_until(lambda pid=server.pid: has_ended(pid), "it ends at once")
        process = start(spawner, replica)
        spawned.append(process)
    assert spawner._server is None
    for process in spawned:
        end_of(process)


def has_ended(pid):
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("delay_s", [0.0, 0.0005, 0.001, 0.002, 0.004, 0.008])
def test_a_server_that_is_killed_while_it_forks_leaves_nothing_behind(make, delay_s):
    spawner = make("wait")
    running = [start(spawner, 0)]
    killer = os.fork()
    if killer == 0:
        time.sleep(delay_s)  # in the midst of what it does; nothing tells when that is
        os.kill(spawner._server.pid, signal.SIGKILL)
        os._exit(0)
    running += [start(spawner, replica) for replica in range(1, 5)]
    os.waitpid(killer, 0)
    for process in running:
        process.send(signal.SIGKILL)
        assert end_of(process) == Exit(-signal.SIGKILL)
    assert_no_stage_is_left()


def words(process):
    """The process's command; one that has ended just now has none."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def assert_no_stage_is_left():
    """One that was forked and that nobody heard of has ended of itself."""
    me = psutil.Process()

    def stages():
        orphans.reap_orphans(own=())
        return [child for child in me.children(recursive=True) if "fork-server" not in words(child)]

    wait_until(lambda: not stages(), lambda: f"{stages()} are left")
