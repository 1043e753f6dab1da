import pytest
from assembled import CHAIN

from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.state import FoldState
from arroyo.protocol.values.actions import Connect, Reply
from arroyo.runner.assembly.folds import EPOCHS_OF_A_LIFE, make_fold


def fold(memory, incarnation=70):
    return make_fold(
        CHAIN,
        ReplicaName("keyed", 0),
        incarnation=incarnation,
        holds=True,
        memory=memory,
        make_early_stop=lambda reason: lambda totals: None,
    )


def test_a_fold_connects_below_and_greets_above_as_any_stage():
    actions = fold(FoldState()).connect()
    assert [str(each.to) for each in actions if isinstance(each, Connect)] == ["out.0"]
    assert [str(each.to) for each in actions if isinstance(each, Reply)] == ["src.0"]


@pytest.mark.parametrize(("next_epoch", "first"), [(0, 70), (1_000_000, 1_000_000)])
def test_its_epochs_are_later_than_those_of_the_life_before_whatever_the_clock_says(
    next_epoch, first
):
    machine = fold(FoldState(next_epoch=next_epoch))
    assert machine.memory.next_epoch == first + EPOCHS_OF_A_LIFE
