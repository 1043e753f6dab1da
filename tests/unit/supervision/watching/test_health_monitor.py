import contextlib
import os
import signal
import subprocess

import pytest

from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.watching.health_monitor import LOOK_EVERY_S, HealthMonitor
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase

NAME = ReplicaName("integrate", 0)


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
    monitor.watch(NAME, os.getpid(), 30.0, now=10.0)
    assert monitor.next_at == 10.0 + LOOK_EVERY_S
    monitor.look(12.0)
    assert monitor.next_at == 12.0 + LOOK_EVERY_S
    monitor.forget(NAME)
    assert monitor.next_at is None


def test_a_hang_is_told_once(monitor, page):
    monitor.watch(NAME, os.getpid(), 1.0, now=0.0)
    page.enter(Phase.PROCESS, 1)
    page.take(0, 7, 0)
    page.word("hand_sequence")[0] = 4712
    told = [found for number in range(1, 12) for found in monitor.look(number * LOOK_EVERY_S)]
    ((name, health),) = told
    assert (name, health.condition) == (NAME, Condition.HUNG)
    page.put_down()
    ((_, health),) = monitor.look(3.0)
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
        monitor.watch(NAME, process.pid, 30.0, now=0.0)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        ((_, health),) = monitor.look(1.0)
        assert health.condition is Condition.STOPPED
        process.kill()
    ((_, health),) = monitor.look(2.0)
    assert health.condition is Condition.WELL


def test_a_process_that_runs_may_be_given_more_time(monitor, page):
    monitor.watch(NAME, os.getpid(), 1.0, now=0.0)
    page.enter(Phase.PROCESS, 1)
    page.take(0, 7, 0)
    monitor.look(0.25)
    monitor.allow(NAME, 3.0)
    told = [found for number in range(2, 9) for found in monitor.look(number * LOOK_EVERY_S)]
    assert told == []
