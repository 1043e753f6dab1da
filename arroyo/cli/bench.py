"""`arroyo bench`: how fast is a chain on this machine, beside one written by hand in pyzmq."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from arroyo.bench.case import (
    LATENCY_PAYLOAD_BYTES,
    Case,
    delivery_case,
    half_rate_case,
    latency_case,
    throughput_case,
)
from arroyo.bench.gate import read_gate
from arroyo.bench.journal import Journal, open_journal
from arroyo.bench.machine import describe_machine
from arroyo.bench.pairs import Comparison, Pair, compare, measure_pair
from arroyo.bench.plots import draw_plots, has_matplotlib
from arroyo.bench.recovery import measure_idle, measure_restarts, measure_start
from arroyo.bench.report import comparison_table, idle_line, restarts_line, start_line
from arroyo.config.quantities import parse_size

from .exits import Command

PARTS = ("throughput", "latency", "delivery", "recovery")
REGRESSED = 1
"""Exit code when a ratio is less than the gate accepts."""


class Plan(NamedTuple):
    """How much is measured; `effort` scales how long each run takes."""

    sizes: tuple[str, ...]
    pairs: int
    effort: float
    kills: int
    stages: int


FULL = Plan(
    ("100 B", "1 KiB", "64 KiB", "8 MiB", "32 MiB"), pairs=5, effort=1.0, kills=10, stages=50
)
QUICK = Plan(("100 B", "8 MiB"), pairs=1, effort=0.25, kills=3, stages=10)


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("bench", cls=Command)
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--quick", is_flag=True, help="Take a minute or two, for a first impression.")
@click.option("--size", "sizes", type=_Size(), multiple=True, help="Payload, such as '32 MiB'.")
@click.option(
    "--length",
    "lengths",
    type=click.IntRange(1, 8),
    multiple=True,
    default=[2],
    show_default=True,
    help="Pass-through stages between source and sink.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 4),
    multiple=True,
    default=[1],
    show_default=True,
    help="Processes of each pass-through stage.",
)
@click.option("--pairs", type=click.IntRange(1), help="Runs of both chains, of which the medians.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything as JSON lines in a new file of this folder, with plots.",
)
@click.option(
    "--gate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="End with code 1 if a ratio is less than this file accepts.",
)
def command(
    *,
    parts: tuple[str, ...],
    quick: bool,
    sizes: tuple[int, ...],
    lengths: tuple[int, ...],
    replicas: tuple[int, ...],
    pairs: int | None,
    save: Path | None,
    gate: Path | None,
) -> int:
    """Measure chains of this machine: source, pass-through stages, sink, each a process.

    Each figure stands beside that of the same chain written by hand in pyzmq, without types,
    restarts or any promise. Only ratios can be compared between machines, or between two days.
    PARTS: throughput, latency (per hop, at low load and at half of the rate that the slower of both
    chains can take), delivery (reliable beside best-effort), recovery (kills, start, idling);
    default all.
    --size, --length, --replicas may be given more than once: all of their combinations.
    """
    plan = QUICK if quick else FULL
    accepted = None if gate is None else read_gate(gate)
    chosen = parts or PARTS
    payloads = sizes or tuple(map(parse_size, plan.sizes))
    with _interrupted_by_sigterm(), open_journal(save) as journal:
        machine = describe_machine()
        journal.note(machine)
        comparisons: list[Comparison] = []
        if "throughput" in chosen:
            for length, count, size in itertools.product(lengths, replicas, payloads):
                case = throughput_case(size, length, count, effort=plan.effort)
                comparisons.append(_measure(case, pairs or plan.pairs, journal))
        if "latency" in chosen:
            for length in lengths:
                low = latency_case(length, effort=plan.effort)
                comparisons.append(_measure(low, pairs or plan.pairs, journal))
                rate = _common_rate(comparisons, length, plan, journal)
                half = half_rate_case(length, rate, effort=plan.effort)
                comparisons.append(_measure(half, pairs or plan.pairs, journal))
        if comparisons:
            click.echo(comparison_table(comparisons))
        if "delivery" in chosen:
            _measure_delivery(payloads, pairs or plan.pairs, plan.effort, journal)
        _plot(comparisons, machine, journal)
        if "recovery" in chosen:
            _measure_recovery(plan, journal)
    problems = [] if accepted is None else accepted.regressions(comparisons)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return REGRESSED if problems else 0


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C within, so that the measured chains end with this process."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measure(case: Case, count: int, journal: Journal) -> Comparison:
    pairs: list[Pair] = []
    for number in range(1, count + 1):
        click.echo(f"{case.label}: pair {number} of {count}", err=True)
        pair = measure_pair(case)
        pairs.append(pair)
        for chain, outcome in zip(Pair._fields, pair, strict=True):
            journal.note(
                {"kind": "run", "case": case, "pair": number, "chain": chain, "outcome": outcome}
            )
    comparison = compare(case, pairs)
    journal.note({"kind": "comparison", **comparison._asdict()})
    return comparison


def _common_rate(
    comparisons: Sequence[Comparison], length: int, plan: Plan, journal: Journal
) -> float:
    """Return how many messages/s both chains take; measured now, if it was not just before."""
    case = throughput_case(LATENCY_PAYLOAD_BYTES, length, 1, effort=plan.effort)
    found = next((each for each in comparisons if each.case == case), None)
    if found is None:
        found = _measure(case, 1, journal)
    return min(found.handwritten.messages_per_s, found.arroyo.messages_per_s)


def _measure_delivery(payloads: Sequence[int], count: int, effort: float, journal: Journal) -> None:
    cases = [delivery_case(size, effort=effort) for size in payloads]
    found = [_measure(case, count, journal) for case in cases]
    click.echo(comparison_table(found, "best-effort", "reliable"))


def _plot(comparisons: Sequence[Comparison], machine: dict[str, Any], journal: Journal) -> None:
    """Draw a picture beside the JSON lines, if they are kept."""
    if journal.path is None:
        return
    if not has_matplotlib():
        click.echo("no plots: matplotlib is not installed; pip install 'arroyo[bench]'")
        return
    path = journal.path.with_suffix(".png")
    title = f"{machine['cpu']}, {machine['cores']} cores, arroyo {machine['commit'] or ''}"
    if draw_plots(comparisons, title, path):
        click.echo(f"drawn in {path}")


def _measure_recovery(plan: Plan, journal: Journal) -> None:
    restarts = measure_restarts(plan.kills)
    journal.note({"kind": "restarts", "found": restarts})
    click.echo(restarts_line(restarts))
    start = measure_start(plan.stages)
    journal.note({"kind": "start", "found": start})
    click.echo(start_line(start))
    idle = measure_idle(plan.stages)
    journal.note({"kind": "idle", "found": idle})
    click.echo(idle_line(idle))


if __name__ == "__main__":
    command()
