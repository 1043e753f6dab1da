"""What passes through a chain in one process; `tests/conformance` has the rest."""

from __future__ import annotations

from arroyo.codec import Kind, MessageCodec
from arroyo.config.graph import Stage
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Stop
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.run_totals import with_totals
from arroyo.runner.routing import Router, SourceRoute
from arroyo.runner.user_code.fold_call import FoldCall
from arroyo.stages import Operator

CODEC = MessageCodec(())


class Counting(Operator):
    """Folds everything, and counts the Stops."""

    folds = True

    def __init__(self):
        self.stops = 0

    def process(self, message):
        self.stops += isinstance(message, Stop)


def early_stop(reason):
    return lambda totals: CODEC.encode(with_totals(Stop({"reason": reason}), totals))


def test_the_end_of_a_run_without_a_start_is_announced_once_however_often_its_source_is_closed():
    """A listener that has ended is closed again and again while another one goes on."""
    fold = Counting()
    call = FoldCall(Stage(name="fold", role="operator", target="own:Counting"), fold, CODEC)
    router = Router({"fold": call}, CODEC, {"s": [("fold", 0)], "fold": []})
    route = SourceRoute(ReplicaName("s", 0), 1, router, lambda: "r", early_stop)
    route.take(InputBatch(Kind.EVENTS, [CODEC.encode(Event())], [None], 1))
    for _ in range(3):
        route.close("the source ended in mid-run")
    call.close()
    assert fold.stops == 1
