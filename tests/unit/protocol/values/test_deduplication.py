from __future__ import annotations

from batches import make_batch

from arroyo.protocol.values.deduplication import Deduplication


def events(*ranges, **fields):
    return make_batch(ranges=ranges, **fields)


def work_of(batch):
    return [(number, (), None) for first, end in batch.ranges for number in range(first, end)]


def test_what_is_new_goes_as_it_is_and_what_came_again_is_counted():
    known, batch = Deduplication(), events((0, 4))
    work = work_of(batch)
    assert known.select_new(batch, work) is work
    known.of(batch).add(1, 3)
    assert [each[0] for each in known.select_new(batch, work)] == [0, 3]
    assert known.redelivered == 2


def test_each_way_is_known_by_itself_and_all_below_the_frontier():
    known = Deduplication()
    known.of(events((0, 4), path=1)).add(0, 4)
    assert known.covers(events((0, 4), path=1))
    assert not known.covers(events((0, 4), path=2))
    assert known.covers(events((0, 4), path=2, frontier=4))
