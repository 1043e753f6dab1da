from arroyo.codec import Suspect
from arroyo.protocol.source.suspects import Suspects


def suspect(sequence, incarnation=1):
    return Suspect("work", 0, incarnation, "src.0", 1, sequence, "died")


def test_each_life_counts_once_however_often_it_tells():
    known = Suspects()
    assert [known.accuse(suspect(5, life)) for life in (1, 1, 2, 3, 2)] == [1, 1, 2, 3, 3]


def test_what_nobody_suspects_goes_as_it_is():
    assert Suspects().sort([(0, 3), (5, 9)]) == ([(0, 3), (5, 9)], [], [])


def test_a_suspect_goes_alone_and_its_neighbours_without_it():
    known = Suspects()
    known.accuse(suspect(2))
    known.accuse(suspect(7))
    assert known.sort([(0, 3), (5, 9)]) == ([(0, 2), (5, 7), (8, 9)], [2, 7], [])


def test_what_is_buried_goes_no_more():
    known = Suspects()
    known.withhold(2)
    known.quarantined(2, kept=True)
    assert known.sort([(0, 4)]) == ([(0, 2), (3, 4)], [], [2])


def test_the_last_to_tell_is_known_over_all_messages():
    known = Suspects()
    for sequence, life in ((2, 10), (7, 30), (2, 20)):
        known.hear(suspect(sequence, life))
    assert known.last == 30


def test_what_is_finished_is_forgotten():
    known = Suspects()
    known.accuse(suspect(2, 1))
    known.forget_below(3)
    assert known.accuse(suspect(2, 2)) == 1
