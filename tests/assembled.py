"""A chain with all kinds of links, and machines that are made of it."""

from pathlib import Path

from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.runner.assembly.relays import make_relay
from arroyo.runner.assembly.sources import make_source


def stage(name, role, *inputs, **options):
    links = [Input(each.lstrip("~"), "pub-sub" if "~" in each else "push-pull") for each in inputs]
    return Stage(name, role, "m:C", inputs=tuple(links), **options)


def chain_of(*stages):
    return Chain("c", Path("/"), Path("/chain.toml"), {each.name: each for each in stages})


CHAIN = chain_of(
    stage("src", "listener"),
    stage("work", "operator", "src", replicas=2),
    stage("file", "publisher", "work", replicas=2, order="any"),
    stage("keyed", "operator", "src", replicas=2, dispatch_key="detector"),
    stage("out", "publisher", "keyed", order="source"),
    stage("live", "publisher", "~work"),
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
