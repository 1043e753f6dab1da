import msgspec

from arroyo.bench.case import Case
from arroyo.bench.running.typed import Datum, run_typed
from arroyo.messages import Event


def test_a_typed_chain_by_hand_comes_to_its_end():
    found = run_typed(Case(100, 500, length=1))
    assert found.arrived == 500
    assert min(found.source_us, found.stage_us, found.sink_us) > 0


def test_its_messages_say_as_much_as_ours():
    ours, theirs = Event({"index": 1}, b"payload"), Datum({"index": 1}, b"payload")
    lengths = [len(msgspec.msgpack.encode(each)) for each in (ours, theirs)]
    assert abs(lengths[0] - lengths[1]) < 8
