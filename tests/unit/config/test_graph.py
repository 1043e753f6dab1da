from pathlib import Path

from arroyo.config.graph import (
    Chain,
    Hook,
    Input,
    Stage,
    Supervision,
    without_programs,
)
from arroyo.config.schema import OnEventTable, SupervisorTable
from arroyo.identifiers import ReplicaName


def test_a_stage_with_processors_has_as_many_threads_unless_the_file_says_otherwise():
    chain = Chain("c", Path("/"), Path("/c.toml"), {}, env={"A": "chain", "B": "chain"})
    assert chain.environ(Stage("a", "listener", "m:L")) == {"A": "chain", "B": "chain"}
    env = {"B": "stage", "OMP_NUM_THREADS": "7"}
    assert chain.environ(Stage("a", "listener", "m:L", cpus=(0, 3), env=env)) == {
        "OMP_NUM_THREADS": "7",
        "OPENBLAS_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "BLIS_NUM_THREADS": "2",
        "NUMEXPR_NUM_THREADS": "2",
        "A": "chain",
        "B": "stage",
    }


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


def test_supervision_has_seconds_and_numbers_and_the_program_for_events():
    table = SupervisorTable(within_s=5.0, on_event=["mail", "shift"])
    found = Supervision.of(table)
    assert (found.within_s, found.max_restarts) == (5.0, 5)
    assert found.on_event == Hook(("mail", "shift"))
    chosen = OnEventTable(["mail"], ["failed"])
    assert Supervision.of(SupervisorTable(on_event=chosen)).on_event == Hook(("mail",), ("failed",))


def test_programs_are_the_last_level_and_belong_to_nobody_else():
    broker = Stage("broker", "program", "", command=("broker",))
    images = Stage("images", "listener", "m:L")
    chain = Chain("c", Path("/"), Path("/c.toml"), {"broker": broker, "images": images})
    assert chain.levels == ((images,), (broker,))
    assert chain.programs == (broker,)
    assert without_programs(chain).stages == {"images": images}
    assert chain.replicas == (ReplicaName("images", 0), ReplicaName("broker", 0))
