from pathlib import Path

from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName


def make_chain(**inputs):
    roles = {True: "listener", False: "operator"}
    return Chain(
        name="test",
        folder=Path("/"),
        path=Path("/chain.toml"),
        stages={
            name: Stage(
                name,
                roles[not above],
                "m:C",
                inputs=tuple(map(Input, above)),
                replicas=1 + (name == "b"),
            )
            for name, above in inputs.items()
        },
    )


DIAMOND = make_chain(d=["b", "c"], b=["a"], c=["b", "x"], a=[], x=[])


def names(stages):
    return [stage.name for stage in stages]


def test_levels_go_by_the_longest_way_from_a_source():
    assert [names(level) for level in DIAMOND.levels] == [["a", "x"], ["b"], ["c"], ["d"]]


def test_replicas_are_listed_from_the_sources_down():
    assert [str(name) for name in DIAMOND.replicas] == ["a.0", "x.0", "b.0", "b.1", "c.0", "d.0"]
    assert DIAMOND.stages["b"].names == (ReplicaName("b", 0), ReplicaName("b", 1))


def test_downstream_is_who_takes_a_stage_as_input():
    assert [(stage.name, link) for stage, link in DIAMOND.downstream("b")] == [
        ("d", "push-pull"),
        ("c", "push-pull"),
    ]
    assert DIAMOND.downstream("d") == ()


def test_below_is_everything_that_is_reached_nearest_first():
    assert names(DIAMOND.below("a")) == ["b", "d", "c"]
    assert names(DIAMOND.below("x")) == ["c", "d"]


def test_sources_above_are_the_listeners_that_reach_a_stage():
    assert names(DIAMOND.sources_above("d")) == ["a", "x"]
    assert names(DIAMOND.sources_above("b")) == ["a"]
