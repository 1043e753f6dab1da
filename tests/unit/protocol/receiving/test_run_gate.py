from __future__ import annotations

import pytest

from arroyo.codec import Batch, Kind
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.receiving.run_gate import RunGate, Verdict
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.deliveries import Delivery


def batch(kind=Kind.EVENTS, sender="a.0", run="r", **changes):
    fields = {"epoch": 1, "base": 0, "frontier": 0, "path": 0, "ranges": ((1, 2),)} | changes
    return Batch(sender, 1, 0, kind, run, "s.0", **fields)


def admit(gate, *args, now=0.0, **changes):
    """What is to be done with what: pairs of entry and kind."""
    delivery = Delivery(batch(*args, **changes), None)
    return [(entry, each.batch.kind) for entry, each in gate.admit(delivery, now)]


def test_events_wait_for_their_start():
    gate = RunGate()
    assert admit(gate, Kind.EVENTS) == []
    assert admit(gate, Kind.EVENTS, run="other") == []
    assert admit(gate, Kind.START) == [(Verdict.WORK, Kind.START), (Verdict.WORK, Kind.EVENTS)]
    assert admit(gate, Kind.EVENTS) == [(Verdict.WORK, Kind.EVENTS)]


def test_events_of_an_implicit_run_wait_for_nothing():
    assert admit(RunGate(), Kind.EVENTS, implicit=True) == [(Verdict.WORK, Kind.EVENTS)]


def test_mere_tombstones_wait_for_nothing():
    assert admit(RunGate(), Kind.EVENTS, ranges=()) == [(Verdict.WORK, Kind.EVENTS)]


def test_start_and_stop_are_worked_on_once():
    gate = RunGate()
    for kind in (Kind.START, Kind.STOP):
        assert admit(gate, kind) == [(Verdict.WORK, kind)]
        assert admit(gate, kind, sender="a.1") == [(Verdict.AGAIN, kind)]


def test_nothing_is_worked_on_after_the_stop():
    gate = RunGate()
    admit(gate, Kind.START)
    admit(gate, Kind.STOP)
    assert admit(gate, Kind.EVENTS) == [(Verdict.NOTHING, Kind.EVENTS)]


def test_a_stop_that_overtook_its_start_comes_after_it():
    gate = RunGate()
    assert admit(gate, Kind.STOP) == []
    assert admit(gate, Kind.START) == [(Verdict.WORK, Kind.START), (Verdict.WORK, Kind.STOP)]


def test_start_goes_on_once_per_path_and_once_per_higher_attempt():
    gate = RunGate()
    start = batch(Kind.START)
    admit(gate, Kind.START)
    assert not gate.tells(start)
    gate.note(start, "item")
    assert gate.tells(start)
    assert not gate.tells(start)
    assert gate.tells(batch(Kind.START, path=1))
    assert gate.tells(batch(Kind.START, attempt=2))
    assert not gate.tells(batch(Kind.START, attempt=1))
    assert gate.item(start) == "item"


def test_a_start_that_came_by_pub_sub_first_goes_on_once_more_on_its_path():
    gate = RunGate()
    by_pub_sub = batch(Kind.START, reliable=False)
    admit(gate, Kind.START, reliable=False)
    gate.note(by_pub_sub, "item")
    assert [gate.tells(by_pub_sub), gate.tells(by_pub_sub)] == [True, False]
    assert admit(gate, Kind.START, sender="b.0") == [(Verdict.AGAIN, Kind.START)]
    assert [gate.tells(batch(Kind.START)), gate.tells(batch(Kind.START))] == [True, False]


def test_the_announcement_of_a_stop_is_worked_on_once_per_attempt_and_the_run_goes_on():
    gate = RunGate()
    admit(gate, Kind.START)
    assert admit(gate, Kind.CLOSING) == [(Verdict.WORK, Kind.CLOSING)]
    assert admit(gate, Kind.CLOSING, sender="a.1") == [(Verdict.AGAIN, Kind.CLOSING)]
    assert admit(gate, Kind.CLOSING, attempt=1) == [(Verdict.WORK, Kind.CLOSING)]
    assert admit(gate, Kind.EVENTS) == [(Verdict.WORK, Kind.EVENTS)]
    assert admit(gate, Kind.STOP) == [(Verdict.WORK, Kind.STOP)]


def test_another_life_of_a_source_announces_what_it_gives_out_again():
    gate = RunGate()
    admit(gate, Kind.START)
    admit(gate, Kind.CLOSING)
    assert admit(gate, Kind.CLOSING, epoch=2) == [(Verdict.WORK, Kind.CLOSING)]
    assert admit(gate, Kind.CLOSING, epoch=2) == [(Verdict.AGAIN, Kind.CLOSING)]


def test_an_announcement_waits_for_the_start_of_its_run():
    gate = RunGate()
    assert admit(gate, Kind.CLOSING) == []
    assert admit(gate, Kind.START) == [(Verdict.WORK, Kind.START), (Verdict.WORK, Kind.CLOSING)]


def test_the_end_of_a_run_without_a_start_is_announced_whatever_was_seen_of_it():
    assert admit(RunGate(), Kind.CLOSING, implicit=True) == [(Verdict.WORK, Kind.CLOSING)]


def test_an_announcement_after_the_stop_comes_too_late():
    gate = RunGate()
    admit(gate, Kind.START)
    admit(gate, Kind.STOP)
    assert admit(gate, Kind.CLOSING) == [(Verdict.AGAIN, Kind.CLOSING)]


def test_another_life_of_a_source_is_told_that_the_run_is_over():
    gate = RunGate()
    admit(gate, Kind.START)
    admit(gate, Kind.STOP)
    assert admit(gate, Kind.EVENTS, epoch=2) == [(Verdict.LATE, Kind.EVENTS)]
    assert admit(gate, Kind.EVENTS, epoch=1) == [(Verdict.NOTHING, Kind.EVENTS)]
    assert admit(gate, Kind.EVENTS, epoch=2, reliable=False) == [(Verdict.NOTHING, Kind.EVENTS)]


@pytest.mark.parametrize("implicit", [False, True])
def test_nothing_of_a_former_life_of_a_fold_is_taken_once_the_next_was_heard(implicit):
    """It was given out anew, and perhaps otherwise, under the same keys."""
    gate = RunGate()
    first = Kind.EVENTS if implicit else Kind.START
    assert admit(gate, first, epoch=1, implicit=implicit) == [(Verdict.WORK, first)]
    assert admit(gate, epoch=1, implicit=implicit) == [(Verdict.WORK, Kind.EVENTS)]
    assert admit(gate, epoch=2, implicit=implicit) == [(Verdict.WORK, Kind.EVENTS)]
    for kind in Kind:
        assert admit(gate, kind, epoch=1, implicit=implicit) == [(Verdict.NOTHING, kind)]
    assert admit(gate, epoch=2, implicit=implicit) == [(Verdict.WORK, Kind.EVENTS)]


def test_lives_of_other_runs_do_not_matter():
    gate = RunGate()
    admit(gate, Kind.START, run="later", epoch=9)
    admit(gate, Kind.START, run="earlier", epoch=1)
    assert admit(gate, run="earlier", epoch=1) == [(Verdict.WORK, Kind.EVENTS)]


@pytest.mark.parametrize(
    ("implicit", "limit"), [(False, "OPEN_RUNS"), (True, None)], ids=["open", "without a Start"]
)
def test_runs_that_no_stop_ends_are_forgotten_by_number_for_each_source(
    monkeypatch, implicit, limit
):
    monkeypatch.setattr(bounded_table if limit else run_gate, limit or "CLOSED_RUNS", 2)
    gate = RunGate()
    kind = Kind.CLOSING if implicit else Kind.START
    for number in range(3):
        admit(gate, kind, run=f"r{number}", implicit=implicit)
    verdicts = [admit(gate, kind, run=f"r{number}", implicit=implicit) for number in (1, 2, 0)]
    assert [verdict for ((verdict, _),) in verdicts] == [Verdict.AGAIN, Verdict.AGAIN, Verdict.WORK]


def test_what_waits_for_starts_that_never_come_is_credited_in_the_end(monkeypatch):
    monkeypatch.setattr(bounded_table, "OPEN_RUNS", 2)
    gate = RunGate()
    assert [admit(gate, run=f"r{number}") for number in range(2)] == [[], []]
    assert admit(gate, run="r2") == [(Verdict.NOTHING, Kind.EVENTS)]
    assert admit(gate, Kind.START, run="r0") == [(Verdict.WORK, Kind.START)]
    assert len(admit(gate, Kind.START, run="r2")) == 2


def test_a_stop_by_pub_sub_waits_for_the_same_from_every_replica_that_started():
    gate = RunGate()
    for sender in ("a.0", "a.1"):
        admit(gate, Kind.START, sender, reliable=False)
    assert admit(gate, Kind.STOP, "a.0", reliable=False) == [(Verdict.NOTHING, Kind.STOP)]
    assert admit(gate, Kind.EVENTS, "a.1", reliable=False) == [(Verdict.WORK, Kind.EVENTS)]
    assert admit(gate, Kind.STOP, "a.1", reliable=False) == [(Verdict.WORK, Kind.STOP)]
    assert gate.deadline is None


def test_a_stop_by_pub_sub_does_not_wait_for_ever():
    gate = RunGate()
    for sender in ("a.0", "a.1"):
        admit(gate, Kind.START, sender, reliable=False)
    admit(gate, Kind.STOP, "a.0", reliable=False, now=5.0)
    due = 5.0 + run_gate.STOP_WAIT_S
    assert gate.deadline == due
    assert gate.tick(due - 0.01) == []
    (delivery,) = gate.tick(due)
    assert delivery.batch.kind == Kind.STOP
    assert gate.deadline is None
    assert admit(gate, Kind.STOP, "a.1", reliable=False) == [(Verdict.AGAIN, Kind.STOP)]


def test_a_start_that_pub_sub_lost_is_asked_for_once():
    gate = RunGate()
    assert admit(gate, reliable=False) == [(Verdict.ASK, Kind.EVENTS)]
    assert admit(gate, reliable=False) == []
    assert len(admit(gate, Kind.START, reliable=False)) == 3


def test_a_start_that_never_comes_costs_no_more_than_a_bound():
    gate = RunGate()
    verdicts = [admit(gate, reliable=False) for _ in range(2 * run_gate.PARKED_BATCHES + 1)]
    assert gate.dropped == 2 * run_gate.PARKED_BATCHES
    assert sum(map(len, verdicts)) == 3


def test_a_run_by_pub_sub_that_passed_unseen_is_forgotten_with_its_stop():
    gate = RunGate()
    admit(gate, reliable=False)
    assert admit(gate, Kind.STOP, reliable=False) == [(Verdict.NOTHING, Kind.STOP)]
    assert gate.dropped == 1
    assert admit(gate, Kind.START, reliable=False) == [(Verdict.WORK, Kind.START)]


def at(place):
    return ((place, place + 1),)


def test_a_run_that_is_over_does_not_begin_again_when_it_is_not_remembered():
    gate = RunGate()
    runs = range(run_gate.CLOSED_RUNS + 2)
    for number in runs:
        admit(gate, Kind.START, run=f"r{number}", ranges=at(3 * number))
        admit(gate, Kind.STOP, run=f"r{number}", ranges=at(3 * number + 2))
    assert admit(gate, Kind.STOP, run="r1", ranges=at(5)) == [(Verdict.AGAIN, Kind.STOP)]
    for place, kind in enumerate((Kind.START, Kind.EVENTS, Kind.STOP)):
        late = admit(gate, kind, sender="a.1", run="r0", ranges=at(place))
        assert late == [(Verdict.NOTHING, kind)]
    begun = admit(gate, Kind.START, run="next", ranges=at(3 * len(runs)))
    assert begun == [(Verdict.WORK, Kind.START)]


def test_so_is_a_run_by_pub_sub_of_which_not_every_stop_has_come():
    gate = RunGate()
    for number in range(run_gate.CLOSED_RUNS + 2):
        for sender in ("a.0", "a.1"):
            admit(gate, Kind.START, sender, run=f"r{number}", ranges=at(3 * number), reliable=False)
        late = {"run": f"r{number}", "ranges": at(3 * number + 2), "reliable": False}
        admit(gate, Kind.STOP, "a.0", **late)
        gate.tick(run_gate.STOP_WAIT_S)
    for place, kind in enumerate((Kind.START, Kind.EVENTS, Kind.STOP)):
        late = admit(gate, kind, "a.1", run="r0", ranges=at(place), reliable=False)
        assert late == [(Verdict.NOTHING, kind)]


def test_the_places_of_one_life_of_a_source_say_nothing_about_another():
    gate = RunGate()
    admit(gate, Kind.START, ranges=at(7))
    admit(gate, Kind.STOP, ranges=at(8))
    begun = admit(gate, Kind.START, run="new", epoch=2, ranges=at(0))
    assert begun == [(Verdict.WORK, Kind.START)]
