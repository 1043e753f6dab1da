"""How stages leave: with threads and `close()` of users' code that don't end, and as orphans."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from chains import indices, is_gone, listener, operator, publisher, wait_until

from arroyo.identifiers import ReplicaName
from arroyo.shared_memory.files import pool_prefix

EVENTS = 100
WINDOW = 20
STAGES = '''
import threading
from pathlib import Path

from own_stages import Count, Write

from arroyo import Operator, Publisher


class Threads(Operator):
    """Leaves a thread running."""

    def open(self):
        threading.Thread(target=threading.Event().wait).start()

    def process(self, message):
        return message


class NeverCloses(Threads):
    """Waits in close() for what never comes."""

    def open(self):
        pass

    def close(self):
        threading.Event().wait()


class FailingEnd:
    """Raises in close()."""

    def close(self):
        raise ValueError("no shutter")


class FailingCount(FailingEnd, Count):
    pass


class AwayCount(Count):
    def close(self):
        raise ConnectionError("no server")


class FailingOperator(FailingEnd, Operator):
    def process(self, message):
        return message


class FailingWrite(FailingEnd, Write):
    pass


class AwayAtItsEnd(FailingOperator):
    """Finds nobody there in its first close()."""

    def close(self):
        if not Path("tried").exists():
            Path("tried").touch()
            raise ConnectionError("no server")


class Away(Publisher):
    """Has no place to write to once a file is there."""

    def __init__(self, path):
        pass

    def open(self):
        if Path("away").exists():
            raise RuntimeError("no such server")

    def publish(self, message):
        pass
'''


def chain_of(make_chain, *tables, keys=""):
    chain = make_chain(*tables, keys=keys)
    (chain.folder / "leaving.py").write_text(STAGES)
    return chain


def with_operator(make_chain, kind, events=EVENTS):
    return chain_of(
        make_chain,
        listener("count", **({"events": events} if events else {})),
        operator("work", f"leaving:{kind}", ["count"], keys='process_timeout_s = "1 s"'),
        publisher("write", ["work"]),
    )


def test_a_thread_of_users_code_keeps_no_finished_chain(make_chain):
    chain = with_operator(make_chain, "Threads")
    assert chain.supervise().wait(60) == 0, chain.text()
    assert indices(chain.lines()) == list(range(EVENTS))


def test_a_thread_of_users_code_keeps_no_finished_chain_in_one_process(make_chain):
    chain = with_operator(make_chain, "Threads")
    assert chain.supervise("--in-process").wait(20) == 0, chain.text()
    assert indices(chain.lines()) == list(range(EVENTS))


def test_a_thread_of_users_code_keeps_no_stage_by_hand(make_chain):
    chain = with_operator(make_chain, "Threads")
    programs = [chain.stage(name) for name in ("write", "work", "count")]
    assert [program.wait(60) for program in programs] == [0, 0, 0], chain.text()


def test_a_thread_of_users_code_does_not_outlive_a_killed_supervisor(make_chain):
    chain = with_operator(make_chain, "Threads", events=None)
    supervisor = chain.supervise()
    chain.wait_for_lines(10)
    pids = chain.pids().values()
    supervisor.kill()
    wait_until(lambda: all(map(is_gone, pids)), chain.text, deadline_s=60.0)


def test_a_close_that_does_not_return_is_ended_and_named(make_chain):
    chain = with_operator(make_chain, "NeverCloses")
    supervisor = chain.supervise()
    assert supervisor.wait(60) == 1, chain.text()
    assert "work.0 hung in close() for 1 s" in supervisor.text
    assert indices(chain.lines()) == list(range(EVENTS))


@pytest.mark.logs_errors(r"close\(\) raised")
@pytest.mark.parametrize(
    "kinds",
    [
        {"count": "FailingCount"},
        {"count": "AwayCount"},
        {"work": "FailingOperator"},
        {"write": "FailingWrite"},
    ],
    ids=lambda kinds: next(iter(kinds.values())),
)
def test_a_close_that_raises_is_told_once_and_not_tried_again(make_chain, kinds):
    kinds = {name: f"leaving:{kind}" for name, kind in kinds.items()}
    chain = chain_of(
        make_chain,
        listener("count", kinds.get("count", "Count"), events=EVENTS),
        operator("work", kinds.get("work", "leaving:Threads"), ["count"]),
        publisher("write", ["work"], kinds.get("write", "Write")),
    )
    supervisor = chain.supervise()
    [failing] = kinds
    assert supervisor.wait(60) == 1, chain.text()
    assert supervisor.text.count(f"{failing}.0 exited with") == 1
    assert f"{failing}.0 did not end in order" in supervisor.text
    assert "try 1 of" not in supervisor.text
    assert "lost" not in supervisor.text
    assert indices(chain.lines()) == list(range(EVENTS))


@pytest.mark.logs_errors(r"close\(\) raised ConnectionError")
def test_a_close_that_finds_its_server_away_is_tried_again(make_chain):
    chain = with_operator(make_chain, "AwayAtItsEnd")
    supervisor = chain.supervise()
    assert supervisor.wait(60) == 0, chain.text()
    assert "close() raised ConnectionError: no server" in supervisor.text
    assert indices(chain.lines()) == list(range(EVENTS))


@pytest.mark.logs_errors("the supervisor has died", "RuntimeError: no such server")
@pytest.mark.parametrize("deaf", [False, True], ids=["heeds stop()", "deaf"])
def test_an_orphaned_source_counts_what_it_held_and_removes_its_pool(make_chain, deaf):
    chain = chain_of(
        make_chain,
        listener("count", size_bytes=100_000, start=False, deaf=deaf, keys=f"window = {WINDOW}"),
        publisher("write", ["count"], "leaving:Away"),
        keys="[supervisor]\nmax_restarts = 0\n",
    )
    supervisor = chain.supervise()
    wait_until(lambda: pools(chain), chain.text)
    (chain.folder / "away").touch()
    chain.kill("write.0")
    supervisor.wait_for("FAILED")
    wait_until(lambda: chain.status()["count.0"]["in_flight"] > 0, chain.text)
    pid = chain.pids()["count.0"]
    supervisor.send(signal.SIGKILL)
    wait_until(lambda: is_gone(pid), chain.text, deadline_s=15.0)
    log = chain.run_directory.log(ReplicaName("count", 0))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (error,) = [record["message"] for record in records if record["level"] == "ERROR"]
    held = int(re.search(r"(\d+) messages were not finished", error)[1])
    assert 0 < held <= WINDOW
    assert "these messages are lost" in error
    assert not pools(chain)


def pools(chain):
    prefix = pool_prefix(chain.run_directory.path)
    return list(Path("/dev/shm").glob(f"{prefix}*"))


def test_a_chain_whose_run_directory_is_removed_finishes_what_it_has_and_says_why(make_chain):
    chain = make_chain(
        listener("count", every_s=0.005),
        operator("work", "Pass", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(20)
    shutil.rmtree(chain.run_directory.path)
    assert supervisor.wait() == 1
    path = chain.run_directory.path
    assert f"stopping because of the removal of its run directory {path}" in supervisor.text
    assert supervisor.lines[-1].endswith(f"its run directory {path} was removed under it")
    found = indices(chain.lines())
    assert found == list(range(len(found)))
    assert chain.lines()[-1]["type"] == "Stop"
