"""The lines of a chain's logs, as `arroyo logs` and `arroyo events` find, follow and show them."""

from __future__ import annotations

import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from arroyo.config.quantities import parse_duration
from arroyo.config.reader import find_chain
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.config.suggestions import did_you_mean
from arroyo.control.accepted_chain import load_accepted
from arroyo.errors import ArroyoError, UsageError
from arroyo.telemetry.log_merge import LogMerge
from arroyo.telemetry.logs import LogLine

LOOK_EVERY_MS = 100
SUPERVISOR = "supervisor"
_COLOURS = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}
"""They could move the cursor, or hide a line; a tab may stay."""
L = TypeVar("L", bound=LogLine)


class Since(click.ParamType[datetime]):
    """A duration, as the time that was so long ago."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time; a duration that can't be read is an error of the command line."""
        try:
            duration = timedelta(seconds=parse_duration(value))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)
        try:
            return datetime.now(UTC) - duration
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


class WantedLogs:
    """The logs that a command line asks for, of a chain that runs or ran.

    Parameters
    ----------
    chain
        Chain file, or name of a chain.
    wanted
        Stage, replica or ``supervisor``; None: all.

    Raises
    ------
    UsageError
        There is no such chain or stage, or it has not run.
    """

    def __init__(self, chain: str, wanted: str | None) -> None:
        file = find_chain(chain)
        replicas: list[str] = []
        try:
            loaded = load_accepted(file)
        except ArroyoError:
            if file == Path(chain):
                raise
            name = chain  # its logs may say what is wrong with the chain file
        else:
            name, replicas = loaded.name, list(map(str, loaded.replicas))
        if hidden := find_hidden(name, os.environ):
            raise UsageError(hidden)
        self.run_directory = RunDirectory.locate(name, os.environ)
        self._wanted = wanted
        self.names = sorted({*replicas, *self.run_directory.logs, SUPERVISOR})
        """Processes whose logs there are, or may be."""
        if not any(map(self.has, self.names)):
            stages = dict.fromkeys(each.partition(".")[0] for each in self.names)
            meant = did_you_mean(wanted or "", stages)
            raise UsageError(f"chain {name} has no stage or process {wanted!r}{meant}")
        if not self.run_directory.logs:
            raise UsageError(
                f"chain {name} has no logs in {self.run_directory.path}; it has not run yet"
            )

    def has(self, name: str) -> bool:
        """Return True if the log of this process is asked for."""
        return self._wanted in (None, name, name.partition(".")[0])


def in_order(new_lines: Callable[[], Mapping[str, Iterable[L]]], *, follow: bool) -> Iterator[L]:
    """Yield the lines of several logs in order of time; flush stdout before each wait for more.

    Parameters
    ----------
    follow
        Go on with new lines until Ctrl-C, or until nobody reads the output any more.
    """
    merge = LogMerge[L]()
    yield from merge.merge(new_lines())
    while follow:
        sys.stdout.flush()
        _wait()
        yield from merge.add(new_lines())


def _wait() -> None:
    """Wait a moment; end the command if nobody reads its output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(LOOK_EVERY_MS)):
        raise BrokenPipeError


def level_of(line: LogLine) -> int:
    """Return the number of a line's level; one without a name counts as INFO. PURE."""
    return logging.getLevelNamesMapping().get(line.level, logging.INFO)


class Layout:
    """Lines as people read them: a label, local time, level, text.

    Parameters
    ----------
    names
        Processes; each stage has a colour of its own, where stdout is a terminal.
    labels
        What may stand in front of lines.
    """

    def __init__(self, names: Iterable[str], labels: Iterable[str]) -> None:
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._width = max(map(len, labels))
        stages = dict.fromkeys(name.partition(".")[0] for name in names)
        self._colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(stages)}

    def text(self, label: str, line: LogLine) -> str:
        """Return the line, each row of a longer text under its label."""
        time = line.time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        rows = re.split(r"\r?\n", line.message.rstrip())
        rows += line.exception.rstrip().split("\n") if line.exception else []
        rows = [row.translate(_CONTROLS) for row in rows]
        label, level = label.ljust(self._width), f"{line.level:<7}"
        if self._colour:
            label = click.style(label, fg=self._colours.get(line.stage.partition(".")[0]))
            if level_of(line) >= logging.WARNING:
                bad = level_of(line) >= logging.ERROR
                level = click.style(level, fg="red" if bad else "yellow")
        first = f"{label}  {time}  {level}  {rows[0]}\n"
        return first + "".join(f"{label}    {row}\n" for row in rows[1:])
