"""`arroyo new`: a small chain that runs as it is, to start from."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import click

from arroyo.cli.exits import Command
from arroyo.errors import UsageError
from arroyo.identifiers import NAME_RULE, is_name

_CHAIN = """\
# {name}: a listener makes up readings, an operator works on them, a publisher writes a file.
#
#     arroyo check chain.toml         find every mistake
#     arroyo graph chain.toml         draw it
#     arroyo-supervise chain.toml     run it

[chain]
name = "{name}"

[stages.readings]
listener = "stages:Readings"          # the class Readings in stages.py, beside this file
options = {{ count = 100 }}             # its constructor's arguments

[stages.rate]
operator = "stages:Rate"
inputs = ["readings"]
replicas = 2                          # two processes share the work

[stages.table]
publisher = "stages:TextFile"
inputs = ["rate"]
order = "source"                      # as they were read, whichever replica was faster
options = {{ path = "rates.txt" }}      # relative to this folder
"""

_STAGES = '''\
"""The stages of this chain: readings of a counter, their rate, and a text file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from arroyo import Event, IteratingListener, Message, Operator, Publisher, Start, Stop


class Readings(IteratingListener):
    """Makes up one run of readings; put your instrument in its place."""

    def __init__(self, operator: Operator, count: int = 100) -> None:
        super().__init__(operator)
        self.count = count

    def messages(self) -> Iterator[Message]:
        yield Start({"sample": "water"})
        for number in range(self.count):
            yield Event({"number": number, "counts": 1000 + 37 * number % 100, "exposure_s": 0.1})
        yield Stop()


class Rate(Operator):
    """Adds the count rate to each reading."""

    def process(self, message: Message) -> Message:
        if isinstance(message, Event):
            reading = message.metadata
            reading["rate"] = reading["counts"] / reading["exposure_s"]
        return message


class TextFile(Publisher):
    """Writes a line for each reading, after those that are in the file already."""

    file: TextIO

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        self.file = self.path.open("a", buffering=1)  # a line is in the file once it is written

    def publish(self, message: Message) -> None:
        if isinstance(message, Event):
            self.file.write("{number}\\t{rate:.1f}\\n".format_map(message.metadata))

    def close(self) -> None:
        self.file.close()
'''

_README = """\
# {name}

Run `arroyo-supervise chain.toml` here: `rates.txt` gets one line for each of 100 readings.
"""


@click.command(cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", help="Name of the chain; the folder's name if left out.")
def command(folder: Path, name: str | None) -> None:
    """Write a small working chain into FOLDER, which must be new or empty."""
    name = _chain_name(folder, name)
    texts = {
        "chain.toml": _CHAIN.format(name=name),
        "stages.py": _STAGES,
        "README.md": _README.format(name=name),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; name a new folder")
        with ExitStack() as failing:
            for file, text in texts.items():
                failing.callback((folder / file).unlink, missing_ok=True)
                (folder / file).write_text(text, "utf-8")
            failing.pop_all()
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error.strerror}") from error
    click.echo(f"{folder}: {', '.join(texts)}\nnext: arroyo-supervise {folder / 'chain.toml'}")


def _chain_name(folder: Path, name: str | None) -> str:
    if name is None:
        own = folder.absolute().name
        name = re.sub(r"[^a-z0-9_-]+", "-", own.lower()).strip("-_0123456789")
        if not is_name(name):
            raise UsageError(f"{own!r} can't name a chain; give it one with --name")
    elif not is_name(name):
        raise UsageError(f"{name!r} can't name a chain: {NAME_RULE}")
    return name
