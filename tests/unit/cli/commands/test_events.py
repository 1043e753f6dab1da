"""`arroyo events` of a chain that does not run; following one is in the integration tests."""

import json

import pytest
from invoked import run_by

from arroyo.cli.commands.events import command
from arroyo.supervision.reporting.event_log import EventLog


class Clock:
    def __init__(self):
        self.now = 1_000_000_000.0

    def monotonic(self):
        return self.now

    wall = monotonic


@pytest.fixture
def chain(chain_file, chain_directory, monkeypatch):
    """A chain that has run; its clock was set back meanwhile."""
    monkeypatch.setenv("TZ", "UTC")
    chain_directory.log("supervisor").touch()
    clock = Clock()
    log = EventLog(chain_directory.events, "saxs", clock)
    log.note("chain-started", "chain saxs: 2 stages, 2 processes")
    clock.now -= 3600
    log.note("ready", "work.0 ready after 0.50 s", stage="work.0")
    log.note("hung", "images.0 hung in start()", level="WARNING", stage="images.0")
    log.close()
    return chain_file


run = run_by(command)


def test_events_are_shown_in_the_order_in_which_they_happened(chain):
    assert run("saxs").splitlines() == [
        "chain-started      2001-09-09 01:46:40.000  INFO     chain saxs: 2 stages, 2 processes",
        "ready              2001-09-09 00:46:40.000  INFO     work.0 ready after 0.50 s",
        "hung               2001-09-09 00:46:40.000  WARNING  images.0 hung in start()",
    ]
    assert run(chain) == run("saxs")


@pytest.mark.parametrize(
    ("wanted", "event"),
    [("work", "ready"), ("images.0", "hung"), ("supervisor", "chain-started")],
)
def test_those_of_one_stage_are_enough(chain, wanted, event):
    (line,) = run("saxs", wanted).splitlines()
    assert line.startswith(event)


def test_json_has_one_object_a_line_for_a_script(chain):
    found = [json.loads(line) for line in run("saxs", "--json").splitlines()]
    assert [each["event"] for each in found] == ["chain-started", "ready", "hung"]
    assert found[1]["monotonic_s"] == 999_996_400.0


def test_older_ones_are_left_out(chain):
    assert run("saxs", "--since", "99999 d").count("\n") == 3
    assert run("saxs", "--since", "1 s") == ""


def test_the_event_log_is_no_log_of_a_process(chain, chain_directory):
    assert chain_directory.logs == ["supervisor"]


def test_an_unknown_stage_is_answered_with_those_there_are(chain):
    assert "did you mean 'images'?" in run("saxs", "image", code=64)
