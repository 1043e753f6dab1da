"""What a sender is told of the chain that it stands in."""

import pytest
from unit.protocol.model import chain, listener, operator, publisher

from arroyo.identifiers import ReplicaName
from arroyo.runner.assembly.topology import Surroundings


@pytest.mark.parametrize("order", ["any", "source"])
def test_it_knows_where_paths_end_and_whether_a_stage_below_wants_the_order(order):
    stages = listener("s"), operator("a", "s", order=order), publisher("c", "a", "s")
    context = Surroundings(chain(*stages), ReplicaName("s", 0), 4).sender_context()
    assert (context.name, context.incarnation) == (ReplicaName("s", 0), 4)
    assert [end.stage for end in context.terminals] == ["c", "c"]
    assert context.ordered is (order == "source")
