import contextlib
import logging
import os

import msgspec
import pytest
from supervised_histories import LINE, make_chain, name_of

from arroyo.clock import SystemClock
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import Ending, Evidence
from arroyo.supervision.reporting.event_log import EventLog
from arroyo.supervision.reporting.reporter import Reporter
from arroyo.telemetry.console import Console
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.output import output_file

NAME = name_of("images.0")


@pytest.fixture
def shown():
    """A console, and what has come out of it."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    console = Console(writing)
    yield console, lambda: os.read(reading, 65536).decode().splitlines()
    console.close()
    os.close(reading)
    os.close(writing)


@pytest.fixture
def reporter(shown, run_directory):
    events = EventLog(run_directory.events, "c", SystemClock())
    with contextlib.closing(Reporter(shown[0], True, run_directory, events)) as made:
        yield made


@pytest.fixture
def events(run_directory):
    """Return the event log so far."""
    return lambda: [
        msgspec.json.decode(line, type=EventLine)
        for line in run_directory.events.read_bytes().splitlines()
    ]


def lives(run_directory, *events):
    with contextlib.closing(EventLog(run_directory.events, "c", SystemClock())) as log:
        for event in events:
            log.note(event, event)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ((), []),
        (("chain-started", "ready", "chain-ended"), []),
        (("chain-started", "ready"), ["chain-died"]),
        (("chain-started", "chain-ended", "chain-started"), ["chain-died"]),
    ],
)
def test_a_life_before_that_ended_without_a_word_is_told_of(
    run_directory, reporter, events, shown, before, told
):
    lives(run_directory, *before)
    reporter.begin(make_chain(LINE))
    assert [line.event for line in events()] == [*before, "chain-started", *told]
    assert (f"(pid {os.getpid()}) has ended without a word" in "".join(shown[1]())) == bool(told)


def test_what_happens_is_on_the_console_and_without_colour_in_the_log(reporter, shown, caplog):
    caplog.set_level(logging.INFO, "arroyo.supervision")
    reporter.announce(act.BecameReady(NAME, 0.5))
    assert shown[1]() == ["\033[32mimages.0 ready after 0.50 s\033[0m"]
    assert caplog.messages == ["images.0 ready after 0.50 s"]


def test_parameters_that_are_set_are_on_the_console_and_in_the_event_log(reporter, shown, events):
    reporter.note_set("fit", "level = 7", "pid 1, uid 0")
    told = "fit: level = 7, on a set command (pid 1, uid 0)"
    assert shown[1]() == [told]
    (line,) = events()
    assert (line.event, line.stage, line.by) == ("parameter-set", "fit", "pid 1, uid 0")
    assert line.message == told


def test_what_a_stage_prints_is_passed_on_under_its_name(reporter, shown, run_directory):
    reporter.follow(NAME)
    output_file(run_directory.log(NAME)).write_text("hello\nlast words")
    reporter.pass_on([NAME], now=1.0)
    assert shown[1]() == ["images.0: hello"]
    reporter.pass_on_rest(NAME, "")
    assert shown[1]() == ["images.0: last words"]


def test_without_a_console_there_is_only_the_log(run_directory, caplog):
    caplog.set_level(logging.INFO, "arroyo.supervision")
    reporter = Reporter(
        None, False, run_directory, EventLog(run_directory.events, "c", SystemClock())
    )
    reporter.follow(NAME)
    reporter.say("chain c: 1 stage, 1 process")
    reporter.pass_on([NAME], now=1.0)
    reporter.pass_on_rest(NAME, "")
    assert caplog.messages == ["chain c: 1 stage, 1 process"]


def test_what_happens_is_in_the_event_log_as_it_is_told(reporter, events):
    reporter.note_start(ev.ProcessStarted(NAME, 4711))
    reporter.announce(act.BecameReady(NAME, 0.5))
    reporter.note_refusal("restart wrok", "pid 7, uid 0", "there is none")
    started, ready, refused = events()
    assert (started.event, started.stage, started.process) == ("started", "images.0", 4711)
    assert (ready.event, ready.message) == ("ready", "images.0 ready after 0.50 s")
    assert (refused.stage, refused.by) == ("supervisor", "pid 7, uid 0")
    assert refused.message == "restart wrok refused: there is none"


@pytest.mark.parametrize(
    ("what", "level", "words"),
    [("quarantined", "WARNING", "put 3 messages into quarantine"), ("lost", "ERROR", "lost 3")],
)
def test_messages_that_do_not_arrive_are_in_the_event_log(reporter, events, what, level, words):
    reporter.note_counts(NAME, {"incarnation": 1, what: 3}, 0.0)
    (line,) = events()
    assert (line.event, line.level, line.count) == (what, level, 3)
    assert words in line.message


def test_what_the_life_before_lost_is_told_as_that(reporter, events):
    reporter.note_counts(NAME, {"incarnation": 2, "lost_before": 3}, 0.0)
    (line,) = events()
    assert (line.event, line.level, line.count) == ("lost", "ERROR", 3)
    assert line.message == "images.0: the life before has lost up to 3 messages"


def test_what_a_replica_waits_for_is_told_once_until_it_has_been_ready(reporter, shown, events):
    first, other = (
        act.WillRetry(NAME, Ending(1.0, 75, "", Evidence(said=said)), 1.0)
        for said in ("no server", "no room")
    )
    for waits in (first, first, other):
        reporter.announce(waits)
    assert len(shown[1]()) == 2
    reporter.announce(act.BecameReady(NAME, 0.1))
    reporter.announce(other)
    assert [line.event for line in events()] == ["waiting", "waiting", "ready", "waiting"]
    assert events()[0].exit.said == "no server"
