"""What a fold gives out, as a source would; the rest of `FoldOutputs` is in `test_fold`."""

from arroyo.codec import Kind
from arroyo.protocol.fold.outputs import OutputBatch
from arroyo.protocol.fold.pending_inputs import CoveredInputs
from arroyo.protocol.values.deliveries import Output

FIRST, SECOND = CoveredInputs(()), CoveredInputs(())


def test_the_last_output_of_an_input_carries_what_all_of_them_cover():
    batch = OutputBatch()
    batch.add(Output(["a", "b", "c"], 30), FIRST)
    batch.add(Output(["d"], 7), SECOND)
    intake = batch.as_input(handed_ns=5)
    assert intake.kind == Kind.EVENTS
    assert intake.items == ["a", "b", "c", "d"]
    assert intake.tokens[:2] == [None, None]
    assert intake.tokens[2] is FIRST
    assert intake.tokens[3] is SECOND
    assert (intake.size, intake.handed_ns) == (37, 5)


def test_keys_for_the_replicas_below_go_along():
    batch = OutputBatch()
    batch.add(Output(["a", "b"], 2, keys=[4, 1]), FIRST)
    assert batch.as_input(0).keys == [4, 1]


def test_without_dispatch_by_key_there_are_none():
    batch = OutputBatch()
    batch.add(Output(["a"], 1), FIRST)
    assert batch.as_input(0).keys is None
