import contextlib
import mmap
import os
import signal
import subprocess
import sys

import psutil
import pytest
from msgspec.structs import replace

from arroyo.config.graph import Stage
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.watching.health_monitor import LOOK_EVERY_S, HealthMonitor
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase

NAME = ReplicaName("integrate", 0)
STAGE = Stage("integrate", "operator", "m:O")


@pytest.fixture
def monitor(run_directory):
    with contextlib.closing(HealthMonitor(run_directory)) as made:
        yield made


@pytest.fixture
def page(run_directory):
    made = StatusPage(run_directory.status_page(NAME), os.getpid(), 1)
    yield made
    made.close()


def test_it_looks_only_while_there_is_somebody(monitor):
    assert monitor.next_at is None
    monitor.watch(NAME, os.getpid(), STAGE, now=10.0)
    assert monitor.next_at == 10.0 + LOOK_EVERY_S
    monitor.look(12.0)
    assert monitor.next_at == 12.0 + LOOK_EVERY_S
    monitor.forget(NAME)
    assert monitor.next_at is None


def test_a_page_that_has_not_changed_is_not_taken_apart_again(monitor, page):
    first = monitor.page(NAME, os.getpid())
    assert monitor.page(NAME, os.getpid()) is first
    assert monitor.page(NAME, os.getpid() + 1) == {}
    page.enter(Phase.PROCESS, 1)
    assert monitor.page(NAME, os.getpid())["phase"] == Phase.PROCESS


def test_a_hang_is_told_once(monitor, page):
    monitor.watch(NAME, os.getpid(), replace(STAGE, process_timeout_s=1.0), now=0.0)
    page.enter(Phase.PROCESS, 1)
    page.take(0, 7, 0)
    page.word("hand_sequence")[0] = 4712
    told = [found for number in range(1, 12) for found in monitor.look(number * LOOK_EVERY_S)]
    ((name, health),) = told
    assert (name, health.condition) == (NAME, Condition.HUNG)
    page.put_down()
    ((_, health),) = monitor.look(12 * LOOK_EVERY_S)
    assert health.condition is Condition.WELL


def test_a_page_of_a_predecessor_says_nothing(monitor, page):
    assert monitor.page(NAME, os.getpid())["incarnation"] == 1
    assert monitor.page(NAME, os.getpid() + 1) == {}


def test_a_page_that_comes_later_is_found(monitor, run_directory):
    assert monitor.page(NAME, os.getpid()) == {}
    StatusPage(run_directory.status_page(NAME), os.getpid(), 1).close()
    assert monitor.page(NAME, os.getpid())["incarnation"] == 1


def test_a_stopped_process_and_one_that_is_gone_are_seen(monitor):
    with subprocess.Popen(["sleep", "60"]) as process:
        monitor.watch(NAME, process.pid, STAGE, now=0.0)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        ((_, health),) = monitor.look(1.0)
        assert health.condition is Condition.STOPPED
        process.kill()
    ((_, health),) = monitor.look(2.0)
    assert health.condition is Condition.WELL


def test_a_process_that_runs_may_be_given_more_time(monitor, page):
    monitor.watch(NAME, os.getpid(), replace(STAGE, process_timeout_s=1.0), now=0.0)
    page.enter(Phase.PROCESS, 1)
    page.take(0, 7, 0)
    monitor.look(LOOK_EVERY_S)
    monitor.allow(NAME, replace(STAGE, process_timeout_s=3.0))
    told = [found for number in range(2, 9) for found in monitor.look(number * LOOK_EVERY_S)]
    assert told == []


def look(monitor, number):
    return [health.condition for _, health in monitor.look(number * LOOK_EVERY_S)]


def test_more_memory_than_a_process_may_have_is_told_once(monitor):
    own = memory_bytes(os.getpid())
    monitor.watch(NAME, os.getpid(), replace(STAGE, memory_max_bytes=own + (64 << 20)), now=0.0)
    assert look(monitor, 1) == []
    hoard = b"x" * (128 << 20)
    ((_, health),) = monitor.look(2 * LOOK_EVERY_S)
    assert health.condition is Condition.TOO_LARGE
    assert own + (128 << 20) <= health.memory_bytes <= own + (256 << 20)
    del hoard
    assert look(monitor, 3) == [], "it stays too large"


def test_memory_that_processes_share_counts_for_none_of_them(monitor):
    limit = memory_bytes(os.getpid()) + (64 << 20)
    monitor.watch(NAME, os.getpid(), replace(STAGE, memory_max_bytes=limit), now=0.0)
    with contextlib.closing(mmap.mmap(-1, 128 << 20)) as shared:
        for place in range(0, len(shared), mmap.PAGESIZE):
            shared[place] = 1
        assert look(monitor, 1) == []


def test_a_limit_of_memory_that_comes_later_holds(monitor):
    monitor.watch(NAME, os.getpid(), STAGE, now=0.0)
    assert look(monitor, 1) == []
    monitor.allow(NAME, replace(STAGE, memory_max_bytes=1 << 20))
    assert look(monitor, 2) == [Condition.TOO_LARGE]


def test_of_a_programs_stage_the_program_is_measured(monitor, run_directory):
    command = [sys.executable, "-c", "x = b'x' * (128 << 20); print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(["sleep", "60"]) as stage,
        subprocess.Popen(command, **pipes) as program,
        contextlib.closing(StatusPage(run_directory.status_page(NAME), stage.pid, 1)) as page,
    ):
        program.stdout.readline()
        monitor.watch(NAME, stage.pid, replace(STAGE, memory_max_bytes=64 << 20), now=0.0)
        assert look(monitor, 1) == []
        page.set("program", program.pid)
        assert look(monitor, 2) == [Condition.TOO_LARGE]
        program.kill()
        stage.kill()


def memory_bytes(pid):
    fields = psutil.Process(pid).memory_info()
    return fields.rss - fields.shared
