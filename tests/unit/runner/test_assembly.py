from __future__ import annotations

from pathlib import Path

from arroyo.codec import Batch, Hello, Kind, Open
from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.actions import Connect, Reply, Transmit
from arroyo.protocol.values.paths import Terminal
from arroyo.runner.assembly import key_field, link_numbers, make_relay, make_source, path_table


def stage(name, role, *inputs, **options):
    links = [Input(each.lstrip("~"), "pub-sub" if "~" in each else "push-pull") for each in inputs]
    return Stage(name, role, "m:C", inputs=tuple(links), **options)


CHAIN = Chain(
    "c",
    Path("/"),
    Path("/chain.toml"),
    {
        each.name: each
        for each in (
            stage("src", "listener"),
            stage("work", "operator", "src", replicas=2),
            stage("file", "publisher", "work", replicas=2, order="any"),
            stage("keyed", "operator", "src", replicas=2, dispatch_key="detector"),
            stage("out", "publisher", "keyed", order="source"),
            stage("live", "publisher", "~work"),
        )
    },
)


def source(chain=CHAIN, name="src"):
    return make_source(
        chain,
        ReplicaName(name, 0),
        epoch=1,
        incarnation=50,
        new_run=lambda: "run",
        make_early_stop=lambda reason: lambda totals: None,
    )


def relay(name, incarnation=70):
    return make_relay(CHAIN, ReplicaName(name, 0), incarnation=incarnation, flushes=False)


def test_paths_are_numbered_over_push_pull_links_alone():
    paths = path_table(CHAIN)
    assert paths.terminals("src") == [Terminal("file", 2), Terminal("out", 1)]
    assert paths.edge("src", "keyed") == 1


def test_a_source_connects_to_every_replica_of_its_neighbours():
    links = [action for action in source().connect() if isinstance(action, Connect)]
    assert [str(each.to) for each in links] == ["work.0", "work.1", "keyed.0", "keyed.1"]
    assert [each.link for each in links] == [50, 51, 52, 53]


def test_a_source_waits_for_every_stage_below_subscribers_included():
    machine = source()
    names = {str(name) for name in machine.awaited}
    assert names == {
        "work.0",
        "work.1",
        "file.0",
        "file.1",
        "keyed.0",
        "keyed.1",
        "out.0",
        "live.0",
    }
    for name in machine.awaited:
        list(machine.record(Hello(1, *name, incarnation=1), 0.0))
    assert machine.ready


def test_a_replica_greets_its_neighbours_and_all_sources():
    greeted = [str(each.to) for each in relay("out").connect() if isinstance(each, Reply)]
    assert greeted == ["keyed.0", "keyed.1", "src.0"]


def test_where_paths_end_a_stage_is_terminal():
    assert [relay(name).terminal for name in ("work", "file", "keyed", "out", "live")] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_links_have_numbers_that_no_former_life_has_used():
    first, later = link_numbers(100), link_numbers(1_000_000)
    assert [first(), first()] == [100, 101]
    assert later() == 1_000_000


def test_a_message_adds_up_its_path_on_the_way():
    machine = source()
    for name in machine.awaited:
        list(machine.record(Hello(1, *name, incarnation=1), 0.0))
    actions = list(machine.accept(InputBatch(Kind.START, ["start"], (None,), 5), 0.0))
    starts = {
        str(action.to): action.record.path for action in actions if isinstance(action, Transmit)
    }
    assert starts == {"work.0": 0, "work.1": 0, "keyed.0": 1, "keyed.1": 1}


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
    work = machine.plan(batch, [b"x"] * 70)
    actions = list(machine.finish(delivery.batch, work, [b"x"] * 70, 0.00001))
    sent = [(each.to.replica, each.record.ranges) for each in actions if isinstance(each, Transmit)]
    assert sent[0] == (0, ((0, 32),))
    assert {replica for replica, ((first, _),) in sent if first < 64} == {0}
    assert {replica for replica, ((first, _),) in sent if first >= 64} == {1}


def test_the_key_field_is_that_of_the_stages_below():
    assert key_field(CHAIN, "src") == "detector"
    assert key_field(CHAIN, "work") is None
