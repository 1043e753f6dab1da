from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.paths import PathTable, Terminal


@st.composite
def graphs(draw):
    """Stages s0 to sN, each feeding some of the later ones."""
    count = draw(st.integers(1, 6))
    names = [f"s{number}" for number in range(count)]
    return {
        name: draw(st.lists(st.sampled_from(names[at + 1 :]), unique=True))
        if names[at + 1 :]
        else []
        for at, name in enumerate(names)
    }


def walk(table, links, stage, so_far=0):
    """Yield the sum along each way, and where it ends."""
    if not links[stage]:
        yield so_far, stage
    for below in links[stage]:
        yield from walk(table, links, below, so_far + table.edge(stage, below))


@given(graphs())
def test_every_way_has_a_number_of_its_own_and_none_is_left_out(links):
    table = PathTable(links, dict.fromkeys(links, 1))
    for stage in links:
        sums = [number for number, _ in walk(table, links, stage)]
        assert sorted(sums) == list(range(table.count(stage)))


@given(graphs())
def test_the_number_says_where_the_way_ends(links):
    table = PathTable(links, dict.fromkeys(links, 2))
    ends = table.terminals("s0")
    for number, stage in walk(table, links, "s0"):
        assert ends[number].stage == stage


def test_the_paths_behind_one_edge_are_a_range():
    links = {"s": ["a", "b"], "a": ["x", "y"], "b": ["y"], "x": [], "y": []}
    table = PathTable(links, dict.fromkeys(links, 1) | {"y": 3})
    assert [table.edge("s", "a"), table.edge("s", "b")] == [0, 2]
    assert table.terminals("s") == [Terminal("x", 1), Terminal("y", 3), Terminal("y", 3)]


def test_a_source_without_links_answers_for_itself_alone():
    table = PathTable({"s": []}, {"s": 3})
    assert table.terminals("s") == [Terminal("s", 1)]
