"""Drawings of a chain, for terminals and for other programs."""

from pathlib import Path

import msgspec

from arroyo.cli.output.drawing import ASCII, draw_dot, draw_mermaid, draw_tree
from arroyo.config.graph import Chain, Input, Stage

CHAIN = Chain(
    name="powder",
    folder=Path("/"),
    path=Path("/chain.toml"),
    stages={
        "images": Stage("images", "listener", "lib:Images"),
        "curve": Stage("curve", "operator", "lib:Curve", inputs=(Input("images"),), replicas=2),
        "end": Stage("end", "publisher", "lib:File", inputs=(Input("curve"),), order="source"),
        "live": Stage("live", "publisher", "lib:Live", inputs=(Input("curve", "pub-sub"),)),
        "pair": Stage("pair", "publisher", "lib:Pair", inputs=(Input("images"), Input("motors"))),
        "motors": Stage("motors", "listener", "lib:Motors", listen="tcp://h:6000"),
    },
)

TREE = """\
powder

images         listener    Images
├─▶ curve x2   operator    Curve
│   ├─▶ end    publisher   File     in the order of the source
│   └┄▷ live   publisher   Live
└─▶ pair       publisher   Pair
motors         listener    Motors   tcp://h:6000
└─▶ pair ↑
"""


def test_the_tree_shows_each_stage_once_and_each_link():
    assert draw_tree(CHAIN) == TREE


def test_the_tree_can_do_without_unicode():
    assert draw_tree(CHAIN, ASCII).isascii()
    assert "`.> live" in draw_tree(CHAIN, ASCII)


def test_a_diamond_is_drawn_in_full_where_it_comes_first():
    diamond = Chain(
        name="diamond",
        folder=Path("/"),
        path=Path("/chain.toml"),
        stages={
            "a": Stage("a", "listener", "m:A"),
            "b": Stage("b", "operator", "m:B", inputs=(Input("a"),)),
            "c": Stage("c", "operator", "m:C", inputs=(Input("a"),)),
            "d": Stage("d", "operator", "m:D", inputs=(Input("b"), Input("c"))),
            "e": Stage("e", "publisher", "m:E", inputs=(Input("d"),)),
        },
    )
    lines = [line.partition("   o")[0].rstrip() for line in draw_tree(diamond).splitlines()[3:]]
    assert [line.split("   p")[0].rstrip() for line in lines] == [
        "├─▶ b",
        "│   └─▶ d",
        "│       └─▶ e",
        "└─▶ c",
        "    └─▶ d ↑",
    ]


def test_mermaid_has_every_stage_and_link():
    assert draw_mermaid(CHAIN).splitlines() == [
        "flowchart LR",
        '    n0(["images<br/>Images"])',
        '    n1["curve x2<br/>Curve"]',
        '    n2[/"end<br/>File"/]',
        '    n3[/"live<br/>Live"/]',
        '    n4[/"pair<br/>Pair"/]',
        '    n5(["motors<br/>Motors"])',
        "    n0 --> n1",
        "    n1 --> n2",
        "    n1 -.-> n3",
        "    n0 --> n4",
        "    n5 --> n4",
    ]


def test_dot_has_every_stage_and_link():
    drawn = draw_dot(CHAIN)
    assert drawn.startswith('digraph "powder" {')
    assert '"curve" [shape=box, label="curve x2\\nCurve"];' in drawn
    assert '"images" -> "curve";' in drawn
    assert '"curve" -> "live" [style=dotted];' in drawn


def test_programs_stand_apart():
    broker = Stage("broker", "program", "", command=("/usr/bin/redis-server", "--save", ""))
    chain = msgspec.structs.replace(CHAIN, stages={"broker": broker, **CHAIN.stages})
    assert draw_tree(chain) == TREE + "\nbroker   program   redis-server\n"
    assert '    n0{{"broker<br/>redis-server"}}' in draw_mermaid(chain).splitlines()
    assert '"broker" [shape=component, label="broker\\nredis-server"];' in draw_dot(chain)
