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
def lookout(run_directory):
    with HealthMonitor(run_directory) as made:
        yield made


@pytest.fixture
def page(run_directory):
    made = StatusPage(run_directory.status_page(NAME), os.getpid(), 1)
    yield made
    made.close()


def test_it_looks_only_while_there_is_somebody(lookout):
    assert lookout.next_at is None
    lookout.watch(NAME, os.getpid(), 30.0, now=10.0)
    assert lookout.next_at == 10.0 + LOOK_EVERY_S
    lookout.look(12.0)
    assert lookout.next_at == 12.0 + LOOK_EVERY_S
    lookout.forget(NAME)
    assert lookout.next_at is None


def test_a_hang_is_told_once(lookout, page):
    lookout.watch(NAME, os.getpid(), 1.0, now=0.0)
    page.enter(Phase.PROCESS, 1)
    page.take(0, 7, 0)
    page.word("hand_sequence")[0] = 4712
    told = [found for number in range(1, 12) for found in lookout.look(number * LOOK_EVERY_S)]
    ((name, verdict),) = told
    assert (name, verdict.condition) == (NAME, Condition.HUNG)
    page.put_down()
    ((_, verdict),) = lookout.look(3.0)
    assert verdict.condition is Condition.WELL


def test_a_page_of_a_predecessor_says_nothing(lookout, page):
    assert lookout.page(NAME, os.getpid())["incarnation"] == 1
    assert lookout.page(NAME, os.getpid() + 1) == {}


def test_a_page_that_comes_later_is_found(lookout, run_directory):
    assert lookout.page(NAME, os.getpid()) == {}
    StatusPage(run_directory.status_page(NAME), os.getpid(), 1).close()
    assert lookout.page(NAME, os.getpid())["incarnation"] == 1


def test_a_stopped_process_and_one_that_is_gone_are_seen(lookout):
    with subprocess.Popen(["sleep", "60"]) as process:
        lookout.watch(NAME, process.pid, 30.0, now=0.0)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        ((_, verdict),) = lookout.look(1.0)
        assert verdict.condition is Condition.STOPPED
        process.kill()
    ((_, verdict),) = lookout.look(2.0)
    assert verdict.condition is Condition.WELL
