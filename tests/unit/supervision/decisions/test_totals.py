import pytest
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.totals import ExitStatus, Totals, lossless_stages

IMAGES, INTEGRATE = ReplicaName("images", 0), ReplicaName("integrate", 0)
WELL = ExitStatus(0)


@pytest.fixture
def totals():
    return Totals(make_chain(LINE))


def test_all_finished_is_0(totals):
    totals.note(IMAGES, {"received": 5, "sent": 5})
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(0)


def test_messages_in_quarantine_are_65_and_the_command_that_shows_them(totals):
    totals.note(INTEGRATE, {"received": 5, "quarantined": 1})
    totals.note(INTEGRATE, {"received": 5, "quarantined": 2})
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(
        65, ("3 messages are in quarantine; see: arroyo quarantine list chain",)
    )


def test_messages_that_were_brought_back_meanwhile_are_not_in_quarantine(totals):
    totals.note(INTEGRATE, {"received": 5, "quarantined": 2})
    assert totals.exit_status(WELL, waiting=0) == ExitStatus(0)


def test_messages_lost_in_this_life_are_1(totals):
    totals.note(IMAGES, {"sent": 5, "lost": 1})
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(1, ("1 message of images lost",))


def test_what_is_in_quarantine_is_told_beside_something_worse(totals):
    totals.note(IMAGES, {"sent": 5, "lost": 1})
    totals.note(INTEGRATE, {"quarantined": 1})
    code, reasons = totals.exit_status(WELL, waiting=9)
    assert code == 1
    assert reasons == (
        "1 message of images lost",
        "1 message is in quarantine; see: arroyo quarantine list chain",
    )


def test_what_an_earlier_run_lost_costs_this_one_nothing(totals):
    totals.note(IMAGES, {"sent": 5, "lost_before": 12, "unseen_before": 3})
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(0)
    assert totals.lost_before == {"images": 15}


def test_what_a_source_lost_when_it_died_in_this_run_counts(totals):
    totals.note(IMAGES, {"sent": 5, "lost_before": 12, "unfinished": 4})
    totals.note(IMAGES, {"sent": 5, "lost_before": 3, "unseen_before": 2})
    told = "up to 5 messages of images lost"
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(1, (told,))
    assert totals.of("images")["lost"] == 3
    assert totals.lost_before == {"images": 12}


@pytest.mark.parametrize(
    ("replayable", "what_follows"),
    [(0, "its input can't be read again"), (1, "they come again at the next start")],
)
def test_messages_that_were_not_delivered_are_1(totals, replayable, what_follows):
    totals.note(IMAGES, {"sent": 6205, "unfinished": 6085, "replayable": replayable})
    reason = f"up to 6,085 messages of images not delivered ({what_follows})"
    assert totals.exit_status(WELL, waiting=9) == ExitStatus(1, (reason,))


def test_a_later_life_that_finishes_what_the_one_before_left_has_delivered_it(totals):
    totals.note(IMAGES, {"sent": 10, "unfinished": 10, "replayable": 1})
    totals.note(IMAGES, {})  # ended before it began
    assert totals.not_delivered("images") == 10
    totals.note(IMAGES, {"sent": 10, "unfinished": 0, "replayable": 1})
    assert totals.exit_status(WELL, waiting=9) == WELL


def test_trouble_with_processes_comes_first(totals):
    totals.note(IMAGES, {"unfinished": 2})
    code, reasons = totals.exit_status(ExitStatus(78, ("images.0 failed",)), waiting=0)
    assert code == 78
    assert len(reasons) == 2


def test_below_a_pub_sub_link_or_of_a_best_effort_source_something_may_be_lost():
    chain = make_chain(
        {"images": (), "live": ("images",), "page": ("live",), "file": ("images",), "fast": ()},
        fast={"delivery": "best-effort"},
    )
    inputs = (Input("images", "pub-sub"),)
    chain.stages["live"] = Stage(name="live", role="operator", target="m:C", inputs=inputs)
    assert lossless_stages(chain) == {"images", "file"}
    totals = Totals(chain)
    totals.note(ReplicaName("live", 0), {"lost": 1})
    totals.note(ReplicaName("fast", 0), {"unfinished": 1})
    assert totals.exit_status(WELL, waiting=9) == WELL
