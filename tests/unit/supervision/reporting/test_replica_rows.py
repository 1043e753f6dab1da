import os
import signal
import subprocess

import pytest
from chains import wait_until
from played_replica import by_hand
from supervised_histories import LINE, make_chain

from arroyo.identifiers import ReplicaName
from arroyo.supervision.reporting.replica_rows import read_rows, stands_still
from arroyo.telemetry.status_words import Phase


def test_a_chain_that_never_ran_is_stopped(run_directory):
    state, rows, *_ = read_rows(make_chain(LINE), run_directory, None)
    assert state == "STOPPED"
    assert [row["state"] for row in rows] == ["STOPPED"] * 3


@pytest.mark.parametrize(
    ("phase", "ready", "state"),
    [
        (Phase.OPEN, False, "STARTING"),
        (Phase.PROCESS, True, "READY"),
        (Phase.DRAIN, True, "DRAINING"),
    ],
)
def test_the_page_tells_the_state_of_a_stage_started_by_hand(run_directory, phase, ready, state):
    with by_hand(run_directory, ReplicaName("images", 0), phase, ready):
        found, (row,), *_ = read_rows(make_chain({"images": ()}), run_directory, None)
    assert found == row["state"] == state


def test_where_some_run_and_others_do_not_the_chain_is_degraded(run_directory):
    with by_hand(run_directory, ReplicaName("integrate", 0)):
        state, rows, *_ = read_rows(make_chain(LINE), run_directory, None)
    assert state == "DEGRADED"
    assert [row["pid"] for row in rows] == [None, os.getpid(), None]


def test_a_supervisor_that_does_not_answer_is_done_without(run_directory):
    state, _, _, *answer = read_rows(make_chain(LINE), run_directory, os.getpid())
    assert (state, *answer) == ("STOPPED", False, False)


@pytest.fixture
def stopped_process():
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: stands_still(process.pid))
        yield process.pid
        process.kill()


def test_a_supervisor_that_a_signal_has_stopped_is_not_waited_for(
    run_directory, stopped_process, monkeypatch
):
    monkeypatch.setattr("arroyo.supervision.reporting.replica_rows.request", pytest.fail)
    *_, answered, is_stopped = read_rows(make_chain(LINE), run_directory, stopped_process)
    assert (answered, is_stopped) == (False, True)


def test_a_stage_by_hand_that_a_signal_has_stopped_says_so(
    run_directory, stopped_process, monkeypatch
):
    monkeypatch.setattr(
        "arroyo.supervision.reporting.replica_rows.owner", lambda _: stopped_process
    )
    _, (row,), *_ = read_rows(make_chain({"images": ()}), run_directory, None)
    assert row["reason"] == "is stopped by a signal; kill -CONT lets it go on"
