from __future__ import annotations

from unit.protocol.source.test_ledger import ack

from arroyo.protocol.source.path_progress import PathProgress
from arroyo.protocol.values.paths import Terminal


def test_a_control_is_finished_when_each_replica_has_seen_it_and_events_at_once():
    path = PathProgress(Terminal("c", 2), first=0)
    path.add_control(1)
    path.acknowledge(ack((0, 3), replica=0))
    assert path.missing(0, 3) == [(1, 2)]
    path.acknowledge(ack((1, 2), replica=1))
    assert path.finished.first_gap() == 3


def test_what_a_fold_holds_is_not_missing_and_not_finished():
    path = PathProgress(Terminal("c", 1), first=5)
    path.held.add(ack((5, 7), taken=4))
    assert path.missing(5, 8) == [(7, 8)]
    assert path.finished.first_gap() == 5


def test_below_the_frontier_nothing_is_remembered():
    path = PathProgress(Terminal("c", 1), first=0)
    path.held.add(ack((0, 3), taken=4))
    path.advance(3)
    assert (path.missing(0, 3), path.held.holders) == ([], [])
