from __future__ import annotations

import pytest
from unit.protocol.source.test_ledger import ack, ship

from arroyo.protocol.source.input import Run
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.stop_announcement import StopAnnouncement
from arroyo.protocol.values.paths import Terminal

STARTED, IMPLICIT = Run("r", False, 1), Run("r", True, 0)


@pytest.fixture
def ledger():
    """One event, held by a fold."""
    made = Ledger([Terminal("b", 1)])
    ship(made, 1)
    made.acknowledge(ack((0, 1), taken=7))
    return made


def test_it_is_told_once_in_each_round_while_folds_hold_what_is_left(ledger):
    announcement = StopAnnouncement(ledger)
    assert [announcement.begin_round(STARTED) for _ in range(2)] == [0, None]
    ledger.attempts = 3
    assert [announcement.begin_round(STARTED) for _ in range(2)] == [3, None]
    ship(ledger, 1)
    ledger.attempts = 4
    assert announcement.begin_round(STARTED) is None


def test_when_all_is_finished_only_a_run_without_a_stop_has_its_end_told(ledger):
    ledger.acknowledge(ack((0, 1)))
    ledger.advance(0.0)
    announcement = StopAnnouncement(ledger)
    assert announcement.begin_round(STARTED) is None
    assert announcement.begin_round(IMPLICIT) == 1


def test_what_comes_after_the_announcement_has_it_told_again(ledger):
    announcement = StopAnnouncement(ledger)
    announcement.note(lambda totals: b"stop")
    announcement.begin_round(IMPLICIT)
    ship(ledger, 1)
    ledger.acknowledge(ack((1, 2), taken=7))
    assert announcement.begin_round(IMPLICIT) is None
    announcement.note(lambda totals: b"stop")
    assert announcement.begin_round(IMPLICIT) == 1


def test_a_run_is_over_when_its_end_was_told_and_all_is_finished(ledger):
    announcement = StopAnnouncement(ledger)
    announcement.note(lambda totals: b"stop")
    announcement.begin_round(IMPLICIT)
    assert not announcement.is_over(IMPLICIT)
    ledger.acknowledge(ack((0, 1)))
    ledger.advance(0.0)
    announcement.begin_round(IMPLICIT)
    assert announcement.is_over(IMPLICIT)
    announcement.begin_run()
    assert not announcement.is_over(IMPLICIT)
