"""`arroyo bench`: the speed of a chain on this machine, beside one written by hand in pyzmq."""

from __future__ import annotations

import functools
import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from arroyo.bench.case import FRAME_WORK, SMALL_WORK, Work
from arroyo.bench.reporting.gate import read_gate
from arroyo.bench.reporting.results_file import open_results
from arroyo.bench.session import FULL, QUICK, Session, throughput_cases
from arroyo.cli.exits import Command
from arroyo.config.quantities import parse_size
from arroyo.errors import ConfigurationError

PARTS = ("throughput", "latency", "delivery", "work", "recovery")
REGRESSED = 1
"""Exit code when a ratio is less than the gate accepts."""


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
    type=click.Choice(dict.fromkeys((*SMALL_WORK, *FRAME_WORK))),
    multiple=True,
    help="What happens to the bytes; default: all, and small messages are only passed on, "
    "also as lists.",
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
    r"""Measure chains of this machine: source, stages in between, sink, each a process.

    Each figure is beside that of the same chain written by hand in pyzmq, without restarts or any
    guarantee: raw bytes, and, for small messages, with types that are decoded and encoded in each
    process. It is also beside the limit: what the stages' own code, one copy of each new frame and
    the number of cores allow on this machine. Only ratios can be compared between machines, or
    between two days.

    \b
    PARTS (default: all):
    throughput  as fast as it goes: small messages one by one and as lists; frames passed on, read,
                filled and read, transformed
    latency     of a hop, at 10/s, at 1,000/s, and at half the rate of the slower chain
    delivery    reliable beside best-effort
    work        20 ms of work on each frame, two replicas, beside a multiprocessing.Pool
    recovery    kills, start, idle chain

    --size, --case, --length and --replicas may be repeated; all combinations are measured.
    """
    _require_numpy()
    plan = QUICK if quick else FULL
    plan = plan._replace(pairs=pairs or plan.pairs)
    accepted = None if gate is None else read_gate(gate)
    chosen = parts or PARTS
    payloads = sizes or tuple(map(parse_size, plan.sizes))
    say_progress = functools.partial(click.echo, err=True)
    with _interrupted_by_sigterm(), open_results(save) as results:
        session = Session(plan, results, say=click.echo, tell_progress=say_progress)
        if "throughput" in chosen:
            session.throughput(throughput_cases(payloads, works, lengths, replicas, plan.effort))
        if "latency" in chosen:
            for length in lengths:
                session.latency(length)
        session.say_comparisons()
        if "work" in chosen:
            session.work()
        session.say_work()
        if "delivery" in chosen:
            session.delivery(payloads)
        session.plot()
        if "recovery" in chosen:
            session.recovery()
    problems = [] if accepted is None else accepted.regressions(session.comparisons)
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


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the measured chains end with this process."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    command()
