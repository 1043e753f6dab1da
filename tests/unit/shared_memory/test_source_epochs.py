from batches import make_batch

from arroyo.codec import Kind
from arroyo.shared_memory.source_epochs import KEPT, SourceEpochs

SOURCE = "src.0"


def begun(epoch, **fields):
    """A batch of a run whose Start nobody has finished yet."""
    return make_batch(epoch=epoch, base=1, frontier=0, ranges=((1, 2),), **fields)


def in_flight(epoch, **fields):
    return make_batch(epoch=epoch, base=1, frontier=1, ranges=((1, 2),), **fields)


def lives_of(*batches):
    lives = SourceEpochs([SOURCE])
    for batch in batches:
        lives.note(batch)
    return lives


def test_a_life_is_over_once_a_start_of_the_next_one_is_finished():
    lives = lives_of(in_flight(7), begun(3))
    assert not lives.is_over(SOURCE, 7)
    lives.note(in_flight(3))
    assert lives.is_over(SOURCE, 7)
    assert not lives.is_over(SOURCE, 3)


def test_what_comes_late_of_a_former_life_ends_no_other():
    lives = lives_of(in_flight(1), in_flight(2), in_flight(1))
    assert lives.is_over(SOURCE, 1)
    assert not lives.is_over(SOURCE, 2)


def test_a_third_life_has_to_be_settled_anew():
    lives = lives_of(in_flight(1), in_flight(2), begun(3))
    assert not any(lives.is_over(SOURCE, epoch) for epoch in (1, 2, 3))


def test_what_came_without_a_start_may_always_arrive():
    lives = lives_of(make_batch(epoch=1, implicit=True), in_flight(2))
    assert not lives.is_over(SOURCE, 1)


def test_only_events_tell_of_a_life():
    lives = lives_of(in_flight(1), in_flight(2, kind=Kind.STOP), begun(3, kind=Kind.START))
    assert not lives.is_over(SOURCE, 1)


def test_epochs_of_folds_are_no_lives():
    lives = lives_of(in_flight(1, source="mean.0"), in_flight(2, source="mean.0"))
    assert not lives.is_over("mean.0", 1)


def test_a_life_that_nobody_has_heard_of_is_not_over():
    lives = lives_of(in_flight(1), in_flight(2))
    assert not lives.is_over(SOURCE, 9)
    assert not lives.is_over("other.0", 1)


def test_not_every_life_is_remembered_for_ever():
    lives = lives_of(*[in_flight(epoch) for epoch in range(KEPT + 2)])
    assert not lives.is_over(SOURCE, 0)
    assert lives.is_over(SOURCE, KEPT)
