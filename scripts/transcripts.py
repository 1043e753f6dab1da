#!/usr/bin/env python3
"""Writes the transcripts on the page about running a chain: what commands print, as it is.

The page is the script. Each block after the line ``<!-- transcript -->`` has one command behind a
``$``; all of them are given, in order, to a chain that runs meanwhile, and what they print takes
the place of what stood there. Run it after a change to what commands print; a test fails until
then.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = Path(__file__).parents[1] / "arroyo" / "supervision" / "README.md"
SHOWN_FOLDER = "/home/shift"
"""Stands for the folder in which the chain ran."""
DEADLINE_S = 30.0
_PROGRAMS = Path(sys.executable).parent
_BLOCK = re.compile(r"(<!-- transcript -->\n```\n\$ ([^\n]*)\n)(.*?)(?=```\n)", re.DOTALL)
_CHAIN = """\
[chain]
name = "powder"

[stages.images]
listener = "powder:Images"

[stages.integrate]
operator = "powder:Integrate"
inputs = ["images"]
replicas = 2
parameters = { threshold = 500 }

[stages.patterns]
publisher = "powder:Patterns"
inputs = ["integrate"]
"""
_STAGES = """\
import time

from arroyo import Event, Operator, PollingListener, Publisher


class Images(PollingListener):
    def poll(self, timeout_s):
        time.sleep(0.01)
        return Event({"angle_deg": 12.5, "exposure_s": 0.01})


class Integrate(Operator):
    threshold = 0

    def process(self, message):
        return message


class Patterns(Publisher):
    def publish(self, message):
        pass
"""


def commands_of(page: str) -> list[str]:
    """Return the commands of all transcripts of a page."""
    return [found[2] for found in _BLOCK.finditer(page)]


def render(page: str, outputs: list[str]) -> str:
    """Return the page with what the commands have printed."""
    left = iter(outputs)
    return _BLOCK.sub(lambda found: found[1] + next(left), page)


def shape(text: str) -> str:
    """Return a text without what differs from one time to the next: figures, and how wide."""
    text = re.sub(r"\d{8}T\d{6}-[0-9a-f]{8}", "RUN", text)
    text = re.sub(r"(?<!\w)-(?!\S)|\d[\d.,:+-]*( ?(us|ms|s|min|%|MiB)\b)?", "0", text)
    return re.sub(r"[ \t]+", " ", text)


def record(commands: list[str]) -> list[str]:
    """Run a chain; return what each command prints about it."""
    with tempfile.TemporaryDirectory() as name, _chain(Path(name)) as environ:
        return [_run(command, environ, name) for command in commands]


@contextmanager
def _chain(folder: Path) -> Iterator[dict[str, str]]:
    """Run the chain in a folder; yield the environment for commands."""
    home = folder / "powder"
    home.mkdir()
    (home / "chain.toml").write_text(_CHAIN, "utf-8")
    (home / "powder.py").write_text(_STAGES, "utf-8")
    environ = {
        **os.environ,
        "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        "ARROYO_RUN_DIR": str(folder / "run"),
        "ARROYO_STATE_DIR": str(folder / "state"),
        "TZ": "UTC",
    }
    supervisor = subprocess.Popen(
        ["arroyo-supervise", home / "chain.toml"],
        env=environ,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield environ
    finally:
        supervisor.terminate()
        supervisor.wait()


def _run(command: str, environ: dict[str, str], folder: str) -> str:
    _wait_until_calm(environ)
    done = subprocess.run(
        command.split(),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.replace(folder, SHOWN_FOLDER)


def _wait_until_calm(environ: dict[str, str]) -> None:
    """Wait until no process of the chain is on its way to another state."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        asked = subprocess.run(
            ["arroyo", "status", "powder", "--json"],
            env=environ,
            capture_output=True,
            check=False,
        )
        rows = json.loads(asked.stdout)["stages"] if asked.returncode == 0 else [{"state": ""}]
        if {row["state"] for row in rows} <= {"READY", "STOPPED"} and any(map(_works, rows)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"the chain did not become calm: {asked.stdout!r} {asked.stderr!r}")


def _works(row: dict[str, object]) -> bool:
    return bool(row.get("received"))


def main() -> None:
    """Write the page."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(render(page, record(commands_of(page))), "utf-8")


if __name__ == "__main__":
    main()
