"""`arroyo tap CHAIN STAGE`: shows messages that pass through a stage of a running chain."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack
from pathlib import Path

import click

from arroyo.cli.exits import Command
from arroyo.config.reader import find_chain
from arroyo.control.accepted_chain import load_accepted
from arroyo.durable.recording import Recording, RecordingHead
from arroyo.errors import UsageError
from arroyo.supervision.live.tapped_stage import TappedStage

RATE_PER_S = 5.0
RATE_MAX_PER_S = 20.0
BYTES_PER_S = 8 << 20
"""Of large messages fewer are shown, since people read no faster."""
NICENESS = 19
"""Statistics of large arrays take time that the chain may need."""


@click.command("tap", cls=Command)
@click.argument("chain")
@click.argument("stage", metavar="STAGE[.R]")
@click.option(
    "-n", "count", type=click.IntRange(min=1), help="End after so many messages, not at Ctrl-C."
)
@click.option(
    "--rate",
    type=click.FloatRange(0.0, RATE_MAX_PER_S, min_open=True),
    default=RATE_PER_S,
    show_default=True,
    help=f"Show at most so many messages a second, up to {RATE_MAX_PER_S:g}.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the messages that are shown to a recording as well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each message.")
def command(
    *, chain: str, stage: str, count: int | None, rate: float, save: Path | None, as_json: bool
) -> None:
    r"""Show messages that pass through a STAGE of CHAIN, or one process STAGE.R of it.

    They are what a listener hands over, what an operator gives out, and what comes to a publisher:
    samples, at most 20 messages and 8 MiB a second of each process. The chain does not wait for
    it, and nothing is taken out of it. Of an array its type, shape, least, greatest and mean value
    are shown, and how many are no numbers; of one with up to 16 values all.

    \b
    Examples:
    arroyo tap powder integrate
    arroyo tap powder images.0 -n 1 --json
    arroyo tap powder integrate --rate 1 --save integrate.rec
    """
    if math.isnan(rate):  # which is within any bounds
        raise UsageError("--rate: nan is no number of messages a second")
    tapped = TappedStage(load_accepted(find_chain(chain)), stage, os.environ)
    with ExitStack() as closing:
        closing.callback(tapped.close)
        tapped.open()
        recording = None
        if save is not None:
            recording = _begin_recording(save, RecordingHead(tapped.chain.name, stage, time.time()))
            closing.callback(recording.close)
        os.nice(NICENESS)
        for number, seen in enumerate(tapped.messages(rate, BYTES_PER_S), 1):
            click.echo(seen.text(as_json=as_json))
            if recording is not None:
                recording.append(seen.recorded())
            if number == count:
                return
        click.echo(f"{stage} of chain {tapped.chain.name} has ended", err=True)


def _begin_recording(path: Path, head: RecordingHead) -> Recording:
    try:
        return Recording(path, head)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; choose another name") from error
