import pytest
from supervised_histories import name_of

from arroyo.supervision.reporting.count_changes import EVERY_S, Change, CountChanges

WORK = name_of("work.0")


@pytest.fixture
def look():
    changes = CountChanges()

    def look(now, incarnation=1, last=False, **counts):
        page = {"incarnation": incarnation, **counts}
        return [(each.what, each.more) for each in changes.look(WORK, page, now, last=last)]

    return look


def test_a_change_names_its_replica():
    page = {"incarnation": 1, "lost": 2}
    assert list(CountChanges().look(WORK, page, 0.0)) == [Change("lost", WORK, 2)]


def test_the_first_change_is_told_at_once_and_what_follows_once_a_minute(look):
    assert look(0.0) == []
    assert look(1.0, quarantined=1) == [("quarantined", 1)]
    assert look(2.0, quarantined=5) == []
    assert look(1.0 + EVERY_S, quarantined=9) == [("quarantined", 8)]
    assert look(9.0 + EVERY_S, quarantined=9) == []


def test_nothing_is_left_untold_when_a_process_has_ended(look):
    look(1.0, quarantined=1)
    assert look(2.0, quarantined=4, last=True) == [("quarantined", 3)]


def test_a_new_process_counts_from_the_beginning(look):
    look(1.0, quarantined=5, last=True)
    assert look(100.0, incarnation=2, quarantined=2) == [("quarantined", 2)]


def test_what_a_source_lost_at_its_death_is_told_by_its_next_life(look):
    counts = {"lost": 1, "lost_before": 3, "unseen_before": 1}
    assert look(1.0, incarnation=2, **counts) == [("lost", 1), ("lost_before", 4)]


def test_without_a_page_there_is_nothing_to_tell():
    assert list(CountChanges().look(WORK, {}, 0.0)) == []
