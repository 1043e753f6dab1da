"""A chain, its live page and a browser, for scripts that measure or save what people see of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from chromium import Page, chromium


@contextmanager
def running(*words: str | Path, **options: Any) -> Iterator[subprocess.Popen]:
    """Run a command of this environment; end it by SIGTERM."""
    program = Path(sys.executable).with_name(str(words[0]))
    process = subprocess.Popen([program, *words[1:]], **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


class ShownChain(NamedTuple):
    """A chain that runs."""

    path: Path
    """Its file."""
    pid: int
    """Of its supervisor."""


@contextmanager
def shown_chain(text: str, stages: str) -> Iterator[ShownChain]:
    """Run the chain of a chain file and of a module `own`, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "chain.toml")
        path.write_text(text)
        path.with_name("own.py").write_text(stages)
        os.environ.update(ARROYO_RUN_DIR=f"{name}/run", ARROYO_STATE_DIR=f"{name}/state")
        with running("arroyo-supervise", path, stdout=subprocess.DEVNULL) as supervisor:
            yield ShownChain(path, supervisor.pid)


class ShownPage(NamedTuple):
    """The live page of a chain that is served, and a browser that shows nothing yet."""

    pid: int
    """Of what serves it."""
    address: str
    browser: Page


@contextmanager
def shown_page(chain: Path) -> Iterator[ShownPage]:
    """Serve the page of a chain, and start a browser."""
    words = ("arroyo", "dashboard", chain, "--listen", "127.0.0.1:0")
    with (
        running(*words, stdout=subprocess.PIPE, text=True) as dashboard,
        tempfile.TemporaryDirectory() as folder,
        chromium(folder) as browser,
    ):
        address = dashboard.stdout.readline().partition(" at ")[2].split()[0]
        yield ShownPage(dashboard.pid, address, browser)
