"""`arroyo tap CHAIN STAGE`: shows messages that pass through a stage of a running chain."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click

from arroyo.codec import Batch, decode_data, in_one_piece
from arroyo.config.graph import Chain
from arroyo.config.private_folder import name_of
from arroyo.config.reader import find_chain
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.config.suggestions import did_you_mean
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.locks import owner
from arroyo.control.tap_file import Sample, TapFile
from arroyo.durable.recording import RecordedMessage, Recording, RecordingHead
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName

from .exits import Command
from .output.tapped_message import describe, line_of

RATE_PER_S = 5.0
RATE_MAX_PER_S = 20.0
LOOK_EVERY_S = 0.02
ALIVE_EVERY_S = 0.5
"""How often it is looked whether there is still something to tap."""
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
    tapped = TappedStage(chain, stage)
    with ExitStack() as closing:
        closing.callback(tapped.close)
        tapped.open()
        recording = None
        if save is not None:
            recording = _begin_recording(save, RecordingHead(tapped.chain.name, stage, time.time()))
            closing.callback(recording.close)
        os.nice(NICENESS)
        for number, seen in enumerate(tapped.messages(rate), 1):
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


class SeenMessage(NamedTuple):
    """One message that has passed."""

    time: float
    """When it was seen, in s since 1970."""
    replica: str
    header: Batch
    sample: Sample

    def text(self, *, as_json: bool) -> str:
        """Return it as a line."""
        _, message, payload, payload_bytes = self.sample
        fields = describe(self.header, message, payload, payload_bytes)
        if as_json:
            return json.dumps({"time": self.time, "replica": self.replica, **fields})
        clock = datetime.fromtimestamp(self.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
        return f"{clock}  {self.replica}  {line_of(fields)}"

    def recorded(self) -> RecordedMessage:
        """Return it for a recording; of a payload that was not copied it has nothing."""
        header, message, payload, payload_bytes = self.sample
        packed = in_one_piece(bytes(message), payload) if payload_bytes else bytes(message)
        return RecordedMessage(self.time, self.replica, header, packed)


class TappedStage:
    """The processes of a stage of a running chain, each with its tap; one may be away for a while.

    Raises
    ------
    UsageError
        There is no such chain or stage, or it is another user's, or a program.
    UnavailableError
        The stage does not run.
    """

    def __init__(self, chain: str, stage: str) -> None:
        self.chain = load_accepted(find_chain(chain))
        if hidden := find_hidden(self.chain.name, os.environ):
            raise UsageError(hidden)
        self._run_directory = RunDirectory.locate(self.chain.name, os.environ)
        self._names = names_of(self.chain, stage)
        if self.chain.stages[self._names[0].stage].role == "program":
            raise UsageError(
                f"{stage} of chain {self.chain.name} is a program, which no message passes through"
            )
        self._require_own()
        if not self._is_alive():
            raise UnavailableError(
                f"{stage} of chain {self.chain.name} does not run as a process of its own, and "
                "only those can be tapped (a chain with --in-process has none); see: "
                f"arroyo status {self.chain.name}"
            )
        self._taps: dict[str, TapFile] = {}

    def _require_own(self) -> None:
        """Raise for root: a stage takes nothing from others, not even from root."""
        with suppress(FileNotFoundError):
            user = self._run_directory.path.stat().st_uid
            if user != os.geteuid():
                raise UsageError(
                    f"chain {self.chain.name} belongs to {name_of(user)}; tap it as that user"
                )

    def _is_alive(self) -> bool:
        """Return True if a process of the stage runs."""
        locks = [self._run_directory.lock(name) for name in self._names]
        return any(owner(lock) is not None for lock in locks)

    def open(self) -> None:
        """Begin to look."""
        for name in self._names:
            self._taps[str(name)] = TapFile(self._run_directory.tap(name))

    def close(self) -> None:
        """Look no more."""
        for tap in self._taps.values():
            tap.close()

    def messages(self, rate_per_s: float) -> Iterator[SeenMessage]:
        """Yield what passes, at most so many messages a second, until the stage has ended."""
        pause_s = len(self._taps) / rate_per_s
        ask_at = {name: time.monotonic() for name in self._taps}
        look_at = time.monotonic() + ALIVE_EVERY_S
        while True:
            now = time.monotonic()
            for name, tap in self._taps.items():
                if tap.waits:
                    if (sample := tap.take()) is not None:
                        yield _seen(name, sample)
                elif now >= ask_at[name]:
                    ask_at[name] = now + pause_s
                    tap.ask()
            if now >= look_at:
                look_at = now + ALIVE_EVERY_S
                if not self._may_go_on():
                    return
            time.sleep(LOOK_EVERY_S)

    def _may_go_on(self) -> bool:
        """Return True while the stage runs, or its supervisor may start it again."""
        return self._is_alive() or owner(self._run_directory.lock("supervisor")) is not None


def _seen(name: str, sample: Sample) -> SeenMessage:
    header = decode_data(sample.header)
    assert isinstance(header, Batch)
    return SeenMessage(time.time(), name, header, sample)


def names_of(chain: Chain, wanted: str) -> list[ReplicaName]:
    """Return the replicas that ``STAGE`` or ``STAGE.R`` means.

    UsageError: there is none.
    """
    found = [name for name in chain.replicas if wanted in (name.stage, str(name))]
    if not found:
        meant = did_you_mean(wanted, chain.stages)
        raise UsageError(f"chain {chain.name} has no stage or process {wanted!r}{meant}")
    return found
