from assembled import CHAIN, relay

from arroyo.codec import Ack, Batch, Kind, Open


def acknowledges(name):
    """Whether a stage tells the source that it has finished a message."""
    machine = relay(name)
    (above,) = (each.stage for each in CHAIN.stages[name].inputs)
    machine.record(Open(1, above, 0, 1, 1), None, 0.0)
    came = Batch(f"{above}.0", 1, 0, Kind.EVENTS, "r", "src.0", 1, 0, 0, 0, ranges=((0, 1),))
    records = [each.record for each in machine.finish(came, [(0, (), b"m")], [None], 0.1)]
    return any(isinstance(record, Ack) for record in records)


def test_stages_where_paths_end_acknowledge():
    stages = ("work", "file", "keyed", "out", "live")
    assert [acknowledges(name) for name in stages] == [False, True, False, True, True]
