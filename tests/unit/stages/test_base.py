"""What a stage tells of what it waits for, and the arrays that it gets to send."""

import numpy as np
import pytest

from arroyo import Event, Operator
from arroyo.stages._base import AllocatingStage, WaitingStage


def test_outside_of_a_chain_nobody_hears_and_nobody_stops_it():
    assert WaitingStage().report_waiting("the door is open; close it") is False


def test_in_a_chain_it_is_told_and_hears_whether_to_stop():
    stage, told = WaitingStage(), []

    def tell(why):
        told.append(why)
        return len(told) == 2

    stage._on_waiting = tell
    assert [stage.report_waiting("the door is open"), stage.report_waiting()] == [False, True]
    assert told == ["the door is open", ""]


class Rebins(Operator):
    """Has no super().__init__(), as users write it."""

    def __init__(self):
        pass

    def process(self, message):
        image = self.allocate((2, 3), "<u2")
        image[:] = 7
        return Event.from_array(image)


@pytest.mark.parametrize(("shape", "expected"), [((2, 3), (2, 3)), (5, (5,)), ([4, 1], (4, 1))])
def test_without_a_chain_it_is_a_new_array_of_its_own(shape, expected):
    stage = AllocatingStage()
    one, two = stage.allocate(shape, "<f4"), stage.allocate(shape, np.float32)
    assert one.shape == two.shape == expected
    assert one.dtype == two.dtype == np.dtype("<f4")
    assert one.flags.c_contiguous
    assert one.flags.writeable
    assert not np.shares_memory(one, two)


def test_a_stage_sends_what_it_has_filled():
    event = Rebins().process(None)
    assert (event.dtype, event.shape) == ("<u2", (2, 3))
    assert (event.array == 7).all()


def test_in_a_chain_that_says_where_it_lies():
    stage, place, asked = Rebins(), np.zeros(6, "<u2"), []

    def allocate(shape, dtype):
        asked.append((shape, dtype))
        return place.reshape(shape)

    stage._on_allocate = allocate
    event = stage.process(None)
    assert asked == [((2, 3), "<u2")]
    assert np.shares_memory(event.array, place)
