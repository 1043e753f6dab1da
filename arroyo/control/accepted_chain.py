"""The version of a chain file by which a running chain goes, as commands see the chain.

Its supervisor has accepted it. The file may have been edited since, and may have mistakes by now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from arroyo.config.graph import Chain
from arroyo.config.reader import load_chain, read_text
from arroyo.config.run_directory import RunDirectory, list_known_chains
from arroyo.errors import ConfigurationError, UsageError

from .locks import owner
from .namesakes import find_namesake, is_same


def load_accepted(file: Path, environ: Mapping[str, str] = os.environ) -> Chain:
    """Return the chain that a supervisor runs from this file; if none does, as the file has it.

    ConfigurationError: none does, and the file can't be read or has mistakes.
    UsageError: none does, but a chain of the same name runs from another file.
    """
    for name in list_known_chains(environ):
        run_directory = RunDirectory.locate(name, environ)
        started_from = run_directory.chain_file(name)
        if started_from is None or not is_same(started_from, file):
            continue
        try:
            if owner(run_directory.lock("supervisor")) is None:
                continue
            chain = load_chain(file, environ, copy=run_directory.accepted)
        except ConfigurationError:  # none is accepted yet, or its variables are not set here
            continue
        if chain.name == name:  # by another variable, the file may stand for another chain
            return chain
    chain = load_chain(file, environ)
    other = find_namesake(chain, RunDirectory.locate(chain.name, environ))
    if other is not None:
        raise UsageError(
            f'{file}: a chain of the same name, "{chain.name}", runs from {other}; to mean that '
            f"one, give its name ({chain.name}) or that file, else give this one another name"
        )
    return chain


class FileChanges:
    """Says what has become of the file of a chain since it was read."""

    def __init__(self, chain: Chain, environ: Mapping[str, str]) -> None:
        self._chain = chain
        self._environ = environ
        self._seen = chain.text
        self._said: str | None = None

    def say(self) -> str | None:
        """Return a sentence if the file, as it is now, is another chain; None if it is not."""
        try:
            text = read_text(self._chain.path)
        except ConfigurationError as error:
            self._seen, self._said = "", str(error)
            return self._said
        if text != self._seen:
            self._seen, self._said = text, self._compare()
        return self._said

    def _compare(self) -> str | None:
        chain, file = self._chain, self._chain.path.name
        try:
            found = load_chain(chain.path, self._environ)
        except ConfigurationError as error:
            return f"{file} has changed since, and has mistakes: {error.problems[0]}"
        if replace(found, text=chain.text) == chain:
            return None
        return f"{file} has changed since; to apply it: arroyo reload {chain.name}"
