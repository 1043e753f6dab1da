"""What the Stop of a run tells of its messages."""

from arroyo.codec import Reason
from arroyo.messages import Stop
from arroyo.protocol.values.run_totals import RunTotals, with_totals

NOTHING = {"filtered": 0, "skipped": 0, "quarantined": 0, "dropped": 0, "lost": 0}


def test_all_counts_are_told_though_they_are_0_and_nothing_that_nobody_asks_for():
    assert RunTotals(3).as_data() == {"sent": 3, **NOTHING, "complete": True}


def test_where_nobody_knows_how_much_was_sent_no_count_is_told():
    assert RunTotals(complete=False).as_data() == {"complete": False}


def test_what_ended_on_the_way_is_counted_by_its_reason():
    ends = {Reason.FILTERED: 1, Reason.SKIPPED: 2, Reason.QUARANTINED: 3, Reason.FINISHED: 9}
    totals = RunTotals.of(9, ends, complete=True)
    assert (totals.filtered, totals.skipped, totals.quarantined) == (1, 2, 3)
    assert totals.complete


def test_what_is_missing_is_named_by_its_place_in_the_run():
    totals = RunTotals(9)
    totals.note_missing([(11, 12), (14, 16)], 10)
    data = totals.as_data()
    assert (data["lost"], data["missing"], data["complete"]) == (3, [[1, 2], [4, 6]], False)


def test_a_run_of_which_nothing_is_missing_names_nothing():
    totals = RunTotals(9)
    totals.note_missing([], 10)
    assert "missing" not in totals.as_data()
    assert totals.complete


def test_a_run_is_complete_only_if_nothing_was_dropped():
    totals = RunTotals(9)
    totals.note_dropped(0)
    assert totals.complete
    totals.note_dropped(2)
    assert (totals.dropped, totals.complete) == (2, False)


def test_the_stop_of_a_fold_tells_of_its_inputs_and_is_as_complete_as_they_are():
    inputs = {"sent": 9, "dropped": 2, "complete": False}
    totals = RunTotals(3)
    totals.note_inputs(inputs)
    stop = with_totals(Stop({"a": 1}), totals)
    told = {"sent": 3, **NOTHING, "complete": False, "inputs": inputs}
    assert stop.data == {"a": 1, "totals": told}


def test_a_stop_that_came_without_totals_goes_on_with_those_of_the_outputs():
    totals = RunTotals(3)
    totals.note_inputs(None)
    assert with_totals(Stop(), totals).data == {"totals": RunTotals(3).as_data()}
