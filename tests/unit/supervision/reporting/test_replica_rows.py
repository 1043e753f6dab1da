import os

import pytest
from played_replica import by_hand
from supervised_histories import LINE, make_chain

from arroyo.identifiers import ReplicaName
from arroyo.supervision.reporting.replica_rows import read_rows
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
    state, _, _, answered = read_rows(make_chain(LINE), run_directory, os.getpid())
    assert (state, answered) == ("STOPPED", False)
