"""`arroyo bench`: the speed of a chain on this machine, beside one written by hand in pyzmq."""

from __future__ import annotations

import importlib
import itertools
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from arroyo.bench.case import (
    FRAME_BYTES,
    FRAME_WORK,
    LATENCY_PAYLOAD_BYTES,
    LATENCY_RATES,
    Case,
    Work,
    delivery_case,
    half_rate_case,
    integrate_case,
    latency_case,
    size_text,
    throughput_case,
)
from arroyo.bench.comparison import Comparison, Round, compare, measure_round
from arroyo.bench.machine import describe_machine
from arroyo.bench.reporting.gate import read_gate
from arroyo.bench.reporting.plots import draw_plots, has_matplotlib
from arroyo.bench.reporting.results_file import ResultsFile, open_results
from arroyo.bench.reporting.tables import (
    comparison_table,
    idle_line,
    restarts_line,
    start_line,
    work_lines,
)
from arroyo.bench.restart_times import measure_idle, measure_restarts, measure_start
from arroyo.config.quantities import parse_size
from arroyo.errors import ConfigurationError, UsageError

from .exits import Command

PARTS = ("throughput", "latency", "delivery", "work", "recovery")
REGRESSED = 1
"""Exit code when a ratio is less than the gate accepts."""
INTEGRATION_S = 0.02


class Plan(NamedTuple):
    """Amount of work; `effort` scales how long each run takes."""

    sizes: tuple[str, ...]
    pairs: int
    effort: float
    kills: int
    stages: int


FULL = Plan(("100 B", "1 KiB", "64 KiB", "8 MiB"), pairs=5, effort=1.0, kills=10, stages=50)
QUICK = Plan(("100 B", "8 MiB"), pairs=1, effort=0.25, kills=3, stages=10)


class Size(click.ParamType[int]):
    """A size of an option, such as ``8 MiB``, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or end with what is wrong with it."""
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("bench", cls=Command)
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--quick", is_flag=True, help="Take a minute or two, for a first impression.")
@click.option("--size", "sizes", type=Size(), multiple=True, help="Payload, such as '32 MiB'.")
@click.option(
    "--case",
    "works",
    type=click.Choice(FRAME_WORK),
    multiple=True,
    help="What happens to the bytes; default: all, and small messages are only passed on.",
)
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
@click.option("--pairs", type=click.IntRange(1), help="Runs of both chains; the medians count.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save all results, as JSON lines in a new file of this folder, with plots.",
)
@click.option(
    "--gate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Exit with 1 if a ratio is less than this file accepts.",
)
def command(
    *,
    parts: tuple[str, ...],
    quick: bool,
    sizes: tuple[int, ...],
    works: tuple[Work, ...],
    lengths: tuple[int, ...],
    replicas: tuple[int, ...],
    pairs: int | None,
    save: Path | None,
    gate: Path | None,
) -> int:
    """Measure chains of this machine: source, stages in between, sink, each a process.

    Each figure is beside that of the same chain written by hand in pyzmq, without restarts or any
    guarantee: raw bytes, and, for small messages, with types that are decoded and encoded in each
    process. It is also beside the limit: what the stages' own code, one copy of each new frame and
    the number of cores allow on this machine. Only ratios can be compared between machines, or
    between two days.

    \b
    PARTS (default: all):
    throughput  as fast as it goes; frames are passed on, read, filled and read, transformed
    latency     of a hop, at 10/s, at 1,000/s, and at half the rate of the slower chain
    delivery    reliable beside best-effort
    work        20 ms of work on each frame, two replicas, beside a multiprocessing.Pool
    recovery    kills, start, idle chain

    --size, --case, --length and --replicas may be repeated; all combinations are measured.
    """  # noqa: D301  (click wants the character)
    _require_numpy()
    plan = QUICK if quick else FULL
    accepted = None if gate is None else read_gate(gate)
    chosen = parts or PARTS
    payloads = sizes or tuple(map(parse_size, plan.sizes))
    rounds = pairs or plan.pairs
    with _interrupted_by_sigterm(), open_results(save) as results:
        machine = describe_machine()
        results.note(machine)
        comparisons: list[Comparison] = []
        if "throughput" in chosen:
            cases = _throughput_cases(payloads, works, lengths, replicas, plan.effort)
            comparisons += [_measure(case, rounds, results) for case in cases]
        if "latency" in chosen:
            for length in lengths:
                comparisons += _measure_latency(comparisons, length, rounds, plan, results)
        if comparisons:
            click.echo(comparison_table(comparisons))
        if "work" in chosen:
            comparisons.append(_measure_work(rounds, plan.effort, results))
        click.echo("".join(f"{line}\n" for line in work_lines(comparisons)), nl=False)
        if "delivery" in chosen:
            _measure_delivery(payloads, rounds, plan.effort, results)
        _plot(comparisons, machine, results)
        if "recovery" in chosen:
            _measure_recovery(plan, results)
    problems = [] if accepted is None else accepted.regressions(comparisons)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return REGRESSED if problems else 0


def _require_numpy() -> None:
    try:
        importlib.import_module("numpy")
    except ImportError as error:
        raise ConfigurationError(
            "measuring needs numpy, which is not installed: pip install 'arroyo[bench]'"
        ) from error


def _throughput_cases(
    payloads: Sequence[int],
    works: tuple[Work, ...],
    lengths: tuple[int, ...],
    replicas: tuple[int, ...],
    effort: float,
) -> list[Case]:
    return [
        throughput_case(size, length, count, work, effort=effort)
        for length, count, size in itertools.product(lengths, replicas, payloads)
        for work in _works_of(size, works)
    ]


def _works_of(size: int, works: tuple[Work, ...]) -> tuple[Work, ...]:
    """Return what is measured with payloads of this size."""
    if size >= FRAME_BYTES:
        return works or FRAME_WORK
    if works and "pass" not in works:
        raise UsageError(
            f"messages of {size_text(size)} are only passed on; --case {works[0]} is for frames "
            f"of {size_text(FRAME_BYTES)} and more"
        )
    return ("pass",)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the measured chains end with this process."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measure(case: Case, count: int, results: ResultsFile) -> Comparison:
    rounds: list[Round] = []
    for number in range(1, count + 1):
        click.echo(f"{case.label}: pair {number} of {count}", err=True)
        rounds.append(measure_round(case))
        for chain, measurement in rounds[-1].items():
            results.note(
                {
                    "kind": "run",
                    "case": case,
                    "pair": number,
                    "chain": chain,
                    "outcome": measurement,
                }
            )
    comparison = compare(case, rounds)
    results.note({"kind": "comparison", **comparison._asdict()})
    return comparison


def _measure_latency(
    comparisons: Sequence[Comparison], length: int, count: int, plan: Plan, results: ResultsFile
) -> list[Comparison]:
    cases = [latency_case(length, rate, effort=plan.effort) for rate in LATENCY_RATES]
    half = _common_rate(comparisons, length, plan, results)
    cases.append(half_rate_case(length, half, effort=plan.effort))
    return [_measure(case, count, results) for case in cases]


def _measure_work(count: int, effort: float, results: ResultsFile) -> Comparison:
    from arroyo.bench.stages.frames import pixels_for  # needs numpy

    case = integrate_case(pixels_for(INTEGRATION_S), effort=effort)
    comparison = _measure(case, count, results)
    click.echo(comparison_table([comparison]))
    return comparison


def _common_rate(
    comparisons: Sequence[Comparison], length: int, plan: Plan, results: ResultsFile
) -> float:
    """Return the rate of the slower chain, in messages/s; measure it if that was not done."""
    case = throughput_case(LATENCY_PAYLOAD_BYTES, length, 1, effort=plan.effort)
    found = next((each for each in comparisons if each.case == case), None)
    if found is None:
        found = _measure(case, 1, results)
    return min(found.figures[chain].messages_per_s for chain in ("handwritten", "arroyo"))


def _measure_delivery(
    payloads: Sequence[int], count: int, effort: float, results: ResultsFile
) -> None:
    cases = [delivery_case(size, effort=effort) for size in payloads]
    found = [_measure(case, count, results) for case in cases]
    click.echo(comparison_table(found, "reliable"))


def _plot(comparisons: Sequence[Comparison], machine: dict[str, Any], results: ResultsFile) -> None:
    """Draw a picture beside the JSON lines, if these are saved."""
    if results.path is None:
        return
    if not has_matplotlib():
        click.echo("no plots: matplotlib is not installed; pip install 'arroyo[bench]'")
        return
    path = results.path.with_suffix(".png")
    title = f"{machine['cpu']}, {machine['cores']} cores, arroyo {machine['commit'] or ''}"
    if draw_plots(comparisons, title, path):
        click.echo(f"plots: {path}")


def _measure_recovery(plan: Plan, results: ResultsFile) -> None:
    restarts = measure_restarts(plan.kills)
    results.note({"kind": "restarts", "found": restarts})
    click.echo(restarts_line(restarts))
    start = measure_start(plan.stages)
    results.note({"kind": "start", "found": start})
    click.echo(start_line(start))
    idle = measure_idle(plan.stages)
    results.note({"kind": "idle", "found": idle})
    click.echo(idle_line(idle))


if __name__ == "__main__":
    command()
