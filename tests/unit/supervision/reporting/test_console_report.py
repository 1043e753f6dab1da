import pytest
from supervised_histories import LINE, make_chain

from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.ending import Ending, Evidence
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.totals import ExitStatus, Totals
from arroyo.supervision.reporting.console_report import ConsoleReport

IMAGES = ReplicaName("images", 0)
LINES = [
    (act.BecameReady(IMAGES, 0.214), "images.0 ready after 0.21 s"),
    (
        act.WillRestart(IMAGES, Ending(3.2, -9), 0.0, 1, 5),
        "images.0 was killed (SIGKILL) after 3.20 s; starting it again now (try 1 of 5)",
    ),
    (
        act.WillRestart(IMAGES, Ending(130.0, 1, "", Evidence(said="no beam")), 1.0, 3, 5),
        "images.0 exited with 1 after 2.2 min: no beam; next in 1.00 s (try 3 of 5)",
    ),
    (
        act.WillRestart(IMAGES, Ending(0.0, None, "Too many open files"), 0.5, 1, 5),
        "images.0 could not be started: Too many open files; next in 0.50 s (try 1 of 5)",
    ),
    (
        act.GaveUp(
            IMAGES, Ending(60.0, -9, "not ready within 60 s", Evidence(said="an error")), 300.0
        ),
        "images.0 ended after 60.0 s: not ready within 60 s; FAILED, next try in 5.0 min",
    ),
    (
        act.WillRetry(IMAGES, Ending(1.0, 75, "", Evidence(said="no server at mq:5672")), 4.0),
        "images.0 waits: no server at mq:5672; trying again in 4.00 s",
    ),
    (
        act.WillRetry(IMAGES, Ending(1.0, 75), 0.0),
        "images.0 exited with 75 after 1.00 s, which asks to try later; trying again now",
    ),
    (
        act.GaveUp(IMAGES, Ending(1.0, 78, "", Evidence(said="no file")), None, until_changed=True),
        "images.0 exited with 78 after 1.00 s: no file; FAILED; it is started again once one of "
        "its files has changed",
    ),
    (act.TriesAgain(IMAGES, "own.py"), "images.0: own.py has changed; starting it again"),
    (
        act.EndedBadly(IMAGES, Ending(1.0, -77)),
        "images.0 was killed (signal 77) after 1.00 s",
    ),
    (
        act.BecameUnwell(IMAGES, Condition.STOPPED),
        "images.0 is stopped by a signal; kill -CONT lets it go on",
    ),
    (act.BecameWell(IMAGES), "images.0 goes on"),
    (
        act.Hung(IMAGES, "hung in process() for 31 s"),
        "images.0 hangs: in process() for 31 s; its stacks are saved, then it is killed",
    ),
    (act.StopsOnRequest(IMAGES, "a stop command"), "images.0: stopping, on a stop command"),
    (act.StoppedOnRequest(IMAGES), "images.0 stopped until it is started by command"),
    (act.StartsOnRequest(IMAGES, "a start command"), "images.0: starting, on a start command"),
    (
        act.Draining("SIGINT", 30.0, (IMAGES,)),
        "stopping because of SIGINT: draining, up to 30.0 s; Ctrl-C again stops it now; what waits "
        "for images.0, stopped by command, waits until it is started",
    ),
    (
        act.CutShort((IMAGES, ReplicaName("sink", 1)), "SIGINT"),
        "stopping now because of SIGINT; still running: images.0, sink.1",
    ),
]


@pytest.mark.parametrize(("happened", "line"), LINES)
def test_an_announcement_is_one_readable_line(happened, line):
    assert ConsoleReport(colour=False).line(happened) == line


def test_a_complaint_that_replicas_share_is_told_once():
    report = ConsoleReport(colour=False)
    ending = Ending(1.0, 78, "", Evidence(said="no such file"))
    lines = [
        report.line(act.GaveUp(ReplicaName("images", number), ending, None)) for number in range(3)
    ]
    assert lines == ["images.0 exited with 78 after 1.00 s: no such file; FAILED", None, None]


def test_replicas_that_say_nothing_are_each_told():
    report = ConsoleReport(colour=False)
    ending = Ending(1.0, 78)
    lines = [
        report.line(act.GaveUp(ReplicaName("images", number), ending, None)) for number in (0, 1)
    ]
    assert None not in lines


def test_colour_comes_and_goes():
    line = ConsoleReport(colour=True).line(act.BecameReady(IMAGES, 0.1))
    assert line == "\033[32mimages.0 ready after 0.10 s\033[0m"
    assert ConsoleReport.plain(line) == "images.0 ready after 0.10 s"


def totals_of(links, **pages):
    totals = Totals(make_chain(links))
    for stage, page in pages.items():
        totals.note(ReplicaName(stage, 0), page)
    return totals


def test_the_summary_says_what_became_of_the_messages_of_each_stage():
    totals = totals_of(
        LINE,
        images={"received": 1200, "sent": 1100, "dropped": 5, "unfinished": 100},
        integrate={"received": 1231, "repeated": 131, "sent": 1220, "filtered": 4, "skipped": 7},
    )
    lines = ConsoleReport(colour=False).summary(
        make_chain(LINE), totals, ExitStatus(1, ("a", "b")), 12.3
    )
    assert lines == [
        "  images: 1,200 received, 1,100 sent, 5 dropped, 100 not delivered",
        "  integrate: 1,231 received (131 sent again), 1,220 sent, 4 filtered, 7 skipped",
        "chain chain ended with exit code 1 after 12.3 s: a; b",
    ]


def test_the_summary_tells_several_links_into_a_stage_apart():
    links = {"images": (), "motors": (), "pairs": ("images", "motors")}
    totals = totals_of(links, pairs={"received": 5, "sent": 5, "input_0": 3, "input_1": 2})
    lines = ConsoleReport(colour=False).summary(make_chain(links), totals, ExitStatus(0), 1.0)
    assert lines[0] == "  pairs: 5 received (3 from images, 2 from motors), 5 sent"
    assert lines[-1] == "chain chain ended well after 1.00 s"


def test_what_an_earlier_run_lost_is_told_as_that():
    totals = totals_of(LINE, images={"received": 5, "sent": 5, "lost_before": 12})
    lines = ConsoleReport(colour=False).summary(make_chain(LINE), totals, ExitStatus(0), 1.0)
    assert lines == [
        "  images: 5 received, 5 sent",
        "  images: an earlier run of this chain lost up to 12 messages; this one did not",
        "chain chain ended well after 1.00 s",
    ]


@pytest.mark.parametrize(("count", "said"), [(1, "1 error"), (2, "2 errors")])
def test_errors_are_counted_in_the_right_number(count, said):
    totals = totals_of(LINE, integrate={"received": 5, "sent": 5, "errors": count})
    lines = ConsoleReport(colour=False).summary(make_chain(LINE), totals, ExitStatus(0), 1.0)
    assert f"  integrate: 5 received, 5 sent, {said}" in lines
