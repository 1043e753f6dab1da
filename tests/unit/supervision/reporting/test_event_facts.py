import signal
from typing import get_args

import pytest
from supervised_histories import name_of

from arroyo.config.event_names import EventName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.ending import Ending, Evidence
from arroyo.supervision.reporting.event_facts import KINDS, exit_report, facts_of
from arroyo.telemetry.event_line import ExitReport

WORK = name_of("work.0")
ENDING = Ending(1.2345, 1)


def test_each_announcement_is_an_event():
    assert set(KINDS) == set(get_args(act.Announcement))
    assert {kind.event for kind in KINDS.values()} <= set(get_args(EventName))


@pytest.mark.parametrize(
    ("happened", "facts"),
    [
        (act.BecameReady(WORK, 1.0), {"stage": "work.0"}),
        (act.ChainBecameReady(1.0), {}),
        (
            act.WillRestart(WORK, ENDING, 0.5, 2, 5),
            {"stage": "work.0", "exit": ExitReport(1.234, code=1), "next_s": 0.5},
        ),
        (
            act.GaveUp(WORK, ENDING, None),
            {"stage": "work.0", "exit": ExitReport(1.234, code=1), "next_s": None},
        ),
        (act.CutShort((WORK,), "SIGINT"), {"by": "SIGINT"}),
        (act.RestartsOnRequest(WORK, "pid 7"), {"stage": "work.0", "by": "pid 7"}),
    ],
)
def test_an_event_has_in_fields_what_a_script_needs(happened, facts):
    assert facts_of(happened) == facts


def test_an_exit_report_has_all_that_is_known_of_a_death():
    evidence = Evidence(
        message="images.0 message 4711",
        said="too hot",
        phase="PROCESS",
        dumped_core=True,
        stacks="/run/\udcff/work.0.stacks.1",
        last_lines=("INFO warm", "ERROR too hot"),
    )
    report = exit_report(Ending(3.0, -signal.SIGSEGV, "", evidence))
    assert report == ExitReport(
        after_s=3.0,
        signal="SIGSEGV",
        said="too hot",
        in_hand="images.0 message 4711",
        phase="PROCESS",
        dumped_core=True,
        stacks="/run/\\udcff/work.0.stacks.1",
        log=("INFO warm", "ERROR too hot"),
    )


def test_a_process_that_had_too_much_memory_has_that_for_a_cause():
    evidence = Evidence(too_large="612 MiB of memory, more than its memory_max_bytes of 512 MiB")
    report = exit_report(Ending(3.0, -signal.SIGKILL, "", evidence))
    assert report == ExitReport(3.0, signal="SIGKILL", cause=evidence.too_large)


def test_a_process_that_never_ran_has_neither_code_nor_signal():
    report = exit_report(Ending(0.0, None, "no memory"))
    assert (report.code, report.signal, report.cause) == (None, "", "no memory")
