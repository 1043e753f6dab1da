from arroyo.bench.stages import importing_stages
from arroyo.bench.stages.event_stages import IdleOperator, IdleSink, IdleSource


def test_they_differ_from_idle_stages_by_what_they_import_alone():
    assert set(importing_stages.LIBRARIES) == {"numpy", "pyzmq"}
    kinds = {
        importing_stages.ImportingSource: IdleSource,
        importing_stages.ImportingOperator: IdleOperator,
        importing_stages.ImportingSink: IdleSink,
    }
    assert all(kind.__bases__ == (idle,) for kind, idle in kinds.items())
