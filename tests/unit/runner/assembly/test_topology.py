from assembled import CHAIN, relay

from arroyo.codec import Batch, Hello, Kind, Open
from arroyo.protocol.values.actions import Reply, Transmit
from arroyo.protocol.values.paths import Terminal
from arroyo.runner.assembly.topology import key_field, link_numbers, path_table


def test_paths_are_numbered_over_push_pull_links_alone():
    paths = path_table(CHAIN)
    assert paths.terminals("src") == [Terminal("file", 2), Terminal("out", 1)]
    assert paths.edge("src", "keyed") == 1


def test_a_replica_greets_its_neighbours_and_all_sources():
    greeted = [str(each.to) for each in relay("out").connect() if isinstance(each, Reply)]
    assert greeted == ["keyed.0", "keyed.1", "src.0"]


def test_links_have_numbers_that_no_former_life_has_used():
    first, later = link_numbers(100), link_numbers(1_000_000)
    assert [first(), first()] == [100, 101]
    assert later() == 1_000_000


def test_a_replicated_sink_is_dispatched_to_by_sequence():
    machine = relay("work")
    list(machine.connect())
    for replica in (0, 1):
        list(machine.back(Hello(1, "file", replica, 1), 0.0))
    machine.record(Open(1, "src", 0, 50, 50), None, 0.0)
    batch = Batch(
        "src.0", 50, 0, Kind.EVENTS, "r", "src.0", 1, 0, 0, 0, implicit=True, ranges=((0, 70),)
    )
    _, (delivery,) = machine.record(batch, None, 0.0)
    work = machine.receiver.plan(batch, [b"x"] * 70)
    actions = list(machine.finish(delivery.batch, work, [b"x"] * 70, 0.00001))
    sent = [(each.to.replica, each.record.ranges) for each in actions if isinstance(each, Transmit)]
    assert sent[0] == (0, ((0, 32),))
    assert {replica for replica, ((first, _),) in sent if first < 64} == {0}
    assert {replica for replica, ((first, _),) in sent if first >= 64} == {1}


def test_the_key_field_is_that_of_the_stages_below():
    assert key_field(CHAIN, "src") == "detector"
    assert key_field(CHAIN, "work") is None
