import pytest

from arroyo import Event, Origin
from arroyo.protocol.values.deliveries import LazyWork, Output, all_published

NOT_ALL = [[], [None, Output()], [Output(), None], [b"abc"], [None, b"abc"]]


def test_all_is_published_where_nothing_but_none_came_of_it():
    assert all_published([None, None])


@pytest.mark.parametrize("outcomes", NOT_ALL)
def test_all_else_has_to_be_looked_at_one_by_one(outcomes):
    assert not all_published(outcomes)


def test_a_row_makes_work_of_sequences_and_messages():
    row = LazyWork(range(3, 6), "abc")
    assert list(row) == [(3, (), "a"), (4, (), "b"), (5, (), "c")]
    assert row[1] == (4, (), "b")
    assert list(row[1:]) == [(4, (), "b"), (5, (), "c")]


def test_a_row_that_has_forgotten_its_messages_still_tells_their_places():
    row = LazyWork(range(3, 5), "ab")
    row.forget()
    assert list(row) == [(3, (), None), (4, (), None)]


def test_all_messages_of_a_row_are_told_their_places():
    messages = [Event({"n": number}) for number in range(2)]
    row = LazyWork(range(3, 5), messages)
    found = row.place(lambda sequence, fragment: Origin("r", "s.0", 1, sequence, 0, fragment))
    assert [each.origin.sequence for each in messages] == [3, 4]
    assert found == messages and found is not messages
