"""Measures the same chain made with each framework that is installed; `scripts/bench-peers`."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from arroyo.bench.case import Case
from arroyo.bench.machine import describe_machine
from arroyo.bench.reporting.results_file import open_results
from arroyo.bench.reporting.tables import table
from arroyo.cli.commands.bench import Size

from .frameworks import OTHERS, OURS, Framework, Match, framework_case, match_rows


@click.command()
@click.option(
    "--size", "sizes", type=Size(), multiple=True, default=["1 KiB", "8 MiB"], show_default=True
)
@click.option("--length", type=click.IntRange(1, 8), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--effort", default=1.0, show_default=True, help="Scales how long each run takes.")
@click.option("--save", type=click.Path(file_okay=False, path_type=Path))
def main(
    sizes: tuple[int, ...], length: int, rounds: int, effort: float, save: Path | None
) -> None:
    """Measure the same chain (source, pass-through stages, sink) made with other frameworks.

    Those that are not installed are left out; the extra `peers` has them.
    """
    for each in OTHERS:
        if not each.installed:
            click.echo(f"{each.name} is left out: it is not installed; pip install -e '.[peers]'")
    installed = [each for each in OTHERS if each.installed]
    if not installed:
        return
    with open_results(save) as results:
        results.note(describe_machine())
        matches = [
            measure(framework_case(size, length, effort=effort), [*OURS, *installed], rounds)
            for size in sizes
        ]
        for match in matches:
            results.note({"kind": "frameworks", **match._asdict()})
    click.echo(table(match_rows(matches)))


def measure(case: Case, frameworks: list[Framework], rounds: int) -> Match:
    """Run the chains of one case in turn, so that all meet the same moods of the machine."""
    match = Match(case, {each.name: [] for each in frameworks})
    for number, each in itertools.product(range(1, rounds + 1), frameworks):
        click.echo(f"{each.name} {case.label}: round {number} of {rounds}", err=True)
        match.outcomes[each.name].append(each.run(case))
    return match


if __name__ == "__main__":
    main()
