"""Drawings of a chain: a tree for terminals, Mermaid for web pages, DOT for Graphviz. PURE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from arroyo.config.graph import Chain, Stage
from arroyo.config.schema import Link


class Strokes(NamedTuple):
    """Characters that draw the lines of a tree; all but `again` are four wide."""

    branch: str
    last: str
    weak_branch: str
    weak_last: str
    trunk: str
    again: str


UNICODE = Strokes("├─▶ ", "└─▶ ", "├┄▷ ", "└┄▷ ", "│   ", "↑")
ASCII = Strokes("+-> ", "`-> ", "+.> ", "`.> ", "|   ", "^")


class _Row(NamedTuple):
    tree: str
    role: str
    class_name: str
    notes: str


def draw_tree(chain: Chain, strokes: Strokes = UNICODE) -> str:
    """Draw the paths of the messages as a tree, sources on the left.

    A stage with several inputs is drawn in full the first time, and only by its name after that.
    Programs stand apart, below the tree.
    Dotted arrows are pub-sub links, which may lose messages.
    """
    rows: list[_Row] = []
    drawn: set[str] = set()

    def grow(stage: Stage, arrow: str, indent: str) -> None:
        if stage.name in drawn:
            rows.append(_Row(f"{arrow}{stage.name} {strokes.again}", "", "", ""))
            return
        drawn.add(stage.name)
        rows.append(_Row(f"{arrow}{_title(stage)}", stage.role, _class_name(stage), _notes(stage)))
        links = chain.downstream(stage.name)
        for number, (below, link) in enumerate(links, 1):
            last = number == len(links)
            inner = indent + ("    " if last else strokes.trunk)
            grow(below, indent + _arrow(strokes, link, last), inner)

    for source in chain.stages.values():
        if source.role == "listener":
            grow(source, "", "")
    programs = [_Row(each.name, each.role, _class_name(each), "") for each in chain.programs]
    apart = f"\n{_align(programs)}" if programs else ""
    return f"{chain.name}\n\n{_align(rows)}{apart}"


def draw_mermaid(chain: Chain) -> str:
    """Draw a Mermaid flow chart."""
    shapes = {"listener": "([{}])", "operator": "[{}]", "publisher": "[/{}/]"}
    shapes["program"] = "{{{{{}}}}}"
    # A name like "end" is a keyword of Mermaid, so the nodes are numbered.
    nodes = {name: f"n{number}" for number, name in enumerate(chain.stages)}
    lines = ["flowchart LR"]
    for stage in chain.stages.values():
        label = f'"{_title(stage)}<br/>{_class_name(stage)}"'
        lines.append(f"    {nodes[stage.name]}{shapes[stage.role].format(label)}")
    for above, below, link in _links(chain):
        arrow = "-->" if link == "push-pull" else "-.->"
        lines.append(f"    {nodes[above]} {arrow} {nodes[below]}")
    return "\n".join(lines) + "\n"


def draw_dot(chain: Chain) -> str:
    """Draw a graph for Graphviz's dot."""
    shapes = {"listener": "cds", "operator": "box", "publisher": "note"}
    shapes["program"] = "component"
    lines = [f'digraph "{chain.name}" {{', "    rankdir=LR;"]
    for stage in chain.stages.values():
        label = f"{_title(stage)}\\n{_class_name(stage)}"
        lines.append(f'    "{stage.name}" [shape={shapes[stage.role]}, label="{label}"];')
    for above, below, link in _links(chain):
        style = "" if link == "push-pull" else " [style=dotted]"
        lines.append(f'    "{above}" -> "{below}"{style};')
    return "\n".join([*lines, "}"]) + "\n"


DRAWINGS: dict[str, Callable[[Chain], str]] = {
    "terminal": draw_tree,
    "mermaid": draw_mermaid,
    "dot": draw_dot,
}
"""All formats, by name."""


def _links(chain: Chain) -> Iterator[tuple[str, str, Link]]:
    for stage in chain.stages.values():
        for source in stage.inputs:
            yield source.stage, stage.name, source.link


def _title(stage: Stage) -> str:
    return f"{stage.name} x{stage.replicas}" if stage.replicas > 1 else stage.name


def _class_name(stage: Stage) -> str:
    """Return the name of a stage's class, or of its program."""
    if stage.command:
        return stage.command[0].rpartition("/")[2]
    return stage.target.partition(":")[2]


def _notes(stage: Stage) -> str:
    notes = ["in the order of the source"] if stage.order == "source" else []
    if stage.dispatch_key:
        notes.append(f"by {stage.dispatch_key}")
    if stage.listen:
        notes.append(stage.listen)
    return ", ".join(notes)


def _arrow(strokes: Strokes, link: Link, last: bool) -> str:
    if link == "push-pull":
        return strokes.last if last else strokes.branch
    return strokes.weak_last if last else strokes.weak_branch


def _align(rows: list[_Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)
