"""`scripts/faults`: tries a chain by faults for as long as told, and prints the verdict."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
from fault.campaign import Campaign
from fault.faults import FAULTS, RAISING
from fault.trial_chains import TRIAL_CHAINS

BYTES_HZ = 100 << 20
"""What a source gives in a second at most, unless it is told otherwise."""
EVENTS_HZ = 2000.0


class _Names(click.ParamType):
    name = "names"

    def convert(self, value, param, ctx):
        names = value.split(",") if isinstance(value, str) else list(value)
        for name in names:
            if name not in FAULTS:
                self.fail(f"{name!r} is no fault; there are {', '.join(FAULTS)}", param, ctx)
        return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.FloatRange(min=0), help="Go on for so long instead.")
@click.option(
    "--kills", type=click.IntRange(min=0), help="Let so many faults strike, of whatever kind (100)."
)
@click.option("--seed", type=int, help="Repeat a schedule; by default a new one.")
@click.option("--size", "size_bytes", default=100, show_default=True, help="Bytes of a payload.")
@click.option(
    "--faults",
    "names",
    type=_Names(),
    default="kill",
    show_default=True,
    help=f"Which, with commas between: {', '.join(FAULTS)}.",
)
@click.option(
    "--topology",
    type=click.Choice(list(TRIAL_CHAINS)),
    default="branching",
    show_default=True,
    help="Chain to try.",
)
@click.option("--stages", help="Stages to meet, with commas between; by default all but sources.")
@click.option(
    "--pause", "pause_s", default=0.25, show_default=True, help="Mean time between faults, in s."
)
@click.option("--rate", "rate_hz", type=float, help="Events of each source per s; 0: free.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep all accounts and logs here.")
@click.option("--quiet", is_flag=True, help="Don't tell each fault.")
def faults(
    seconds, kills, seed, size_bytes, names, topology, stages, pause_s, rate_hz, folder, quiet
):
    """Try a chain by random faults, and see whether it keeps its promises.

    A source that keeps account of what it hands over feeds a chain of processes; sinks keep
    account of what they publish. Faults strike at random moments. Then the chain is left to
    drain, and the accounts are compared: nothing lost, nothing twice at an idempotent sink,
    order, checksums and the totals in Stop right, nothing left behind.

    Ends with 1 where a promise is broken; the same --seed repeats the schedule.
    """
    if seconds is None and kills is None:
        kills = 100
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    if rate_hz is None:
        rate_hz = min(EVENTS_HZ, BYTES_HZ / max(1, size_bytes))
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty; name a new folder")
    trial = TRIAL_CHAINS[topology]
    known = [stage.name for stage in trial.stages]
    chosen = stages.split(",") if stages else None
    for stage in chosen or ():
        if stage not in known:
            raise click.UsageError(f"there is no stage {stage!r}; there are {', '.join(known)}")
    click.echo(
        f"{topology}: {size_bytes} bytes, {rate_hz:g} events/s, "
        f"faults {', '.join(names)}; --seed {seed}"
    )
    with tempfile.TemporaryDirectory(prefix="arroyo-faults-") as temporary:
        campaign = Campaign(
            folder or Path(temporary),
            trial,
            seed,
            size_bytes=size_bytes,
            events=max(100, round(2 * rate_hz)) if rate_hz else 20_000,
            rate_hz=rate_hz,
            on_error="crash" if RAISING.intersection(names) else "quarantine",
            stages=chosen,
        )
        began = time.monotonic()
        try:
            campaign.supervise()
            counts = campaign.run(
                {name: FAULTS[name] for name in names},
                strikes=kills,
                seconds=seconds,
                pause_s=pause_s,
                tell=None if quiet else click.echo,
            )
            verdict = campaign.finish()
        except pytest.fail.Exception as failure:
            click.echo(f"BROKEN after {time.monotonic() - began:.0f} s, --seed {seed}: {failure}")
            sys.exit(1)
        finally:
            campaign.close()
    struck = ", ".join(f"{count} {name}" for name, count in counts.items())
    click.echo(f"\nfaults in {time.monotonic() - began:.0f} s: {struck}")
    for name, figure in verdict.figures.items():
        click.echo(f"  {figure:>12,} {name}")
    for sentence in verdict.broken:
        click.echo(f"BROKEN: {sentence}")
    click.echo(
        f"{len(verdict.broken)} promises broken; repeat with --seed {seed}"
        if verdict.broken
        else f"all promises kept; repeat with --seed {seed}"
    )
    sys.exit(1 if verdict.broken else 0)


if __name__ == "__main__":
    faults()
