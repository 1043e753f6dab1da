from assembled import CHAIN, source

from arroyo.codec import Hello, Kind
from arroyo.identifiers import ReplicaName
from arroyo.protocol.recovery.journal import JournalState
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.actions import Connect, Transmit
from arroyo.runner.assembly.sources import make_source

BELOW = [
    ReplicaName(stage, replica)
    for stage, replicas in {"work": 2, "file": 2, "keyed": 2, "out": 1, "live": 1}.items()
    for replica in range(replicas)
]


def test_a_source_connects_to_every_replica_of_its_neighbours():
    links = [action for action in source().connect() if isinstance(action, Connect)]
    assert [str(each.to) for each in links] == ["work.0", "work.1", "keyed.0", "keyed.1"]
    assert [each.link for each in links] == [50, 51, 52, 53]


def test_a_source_waits_for_every_stage_below_subscribers_included():
    machine = source()
    for name in BELOW:
        assert not machine.ready
        list(machine.record(Hello(1, *name, incarnation=1), 0.0))
    assert machine.ready


def test_a_message_adds_up_its_path_on_the_way():
    machine = source()
    for name in BELOW:
        list(machine.record(Hello(1, *name, incarnation=1), 0.0))
    actions = list(machine.accept(InputBatch(Kind.START, ["start"], (None,), 5), 0.0))
    starts = {
        str(action.to): action.record.path for action in actions if isinstance(action, Transmit)
    }
    assert starts == {"work.0": 0, "work.1": 0, "keyed.0": 1, "keyed.1": 1}


def test_a_source_that_resumes_goes_on_in_the_epoch_and_at_the_place_of_its_journal():
    machine = make_source(
        CHAIN,
        ReplicaName("src", 0),
        epoch=7,
        memory=JournalState(epoch=7, frontier=12),
        incarnation=50,
        new_run=lambda: "run",
        make_early_stop=lambda reason: lambda totals: None,
    )
    assert (machine.epoch, machine.ledger.frontier) == (7, 12)
