"""Reads chain.toml into a `graph.Chain`; nothing else reads a chain file.

All mistakes are found in one go; each is one sentence that begins with file, line and key.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from arroyo.errors import ConfigurationError, UsageError
from arroyo.identifiers import is_name

from .graph import Chain
from .reading.key_lines import KeyLines
from .reading.tables import read_tables
from .reading.variables import substitute
from .reading.wiring import wire
from .run_directory import RunDirectory, find_hidden, list_known_chains
from .suggestions import did_you_mean


def load_chain(
    path: str | Path, environ: Mapping[str, str] = os.environ, *, copy: Path | None = None
) -> Chain:
    """Read a chain file.

    Parameters
    ----------
    copy
        A copy of the file `path`, which is read in its place; see `RunDirectory.keep_version`.

    Raises
    ------
    ConfigurationError
        It can't be read or has mistakes; `problems` names all of them.
    """
    chain, problems, lines = survey_chain(path, environ, copy=copy)
    if problems:
        raise ConfigurationError(*map(lines.locate, lines.sort(problems)))
    return chain


def survey_chain(
    path: str | Path, environ: Mapping[str, str], *, copy: Path | None = None
) -> tuple[Chain, list[str], KeyLines]:
    """Read a chain file with mistakes, to look for more of them; `copy` as in `load_chain`.

    Returns
    -------
    chain
        Whole only if there are no problems; otherwise a part of it (see `wiring.wire`).
    problems
        Sentences that begin with their key: ``stages.integrate.replicas: …``.
    lines
        Lines of the keys in the file.

    Raises
    ------
    ConfigurationError
        There is no such file, or it is not TOML.
    """
    text = read_text(copy or Path(path))
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_explain(error, path, text)) from error
    except (ValueError, RecursionError) as error:  # more digits or brackets than Python reads
        raise ConfigurationError(f"{path}: this can't be read: {error}") from error
    problems: list[str] = []
    document = substitute(document, environ, "", problems)
    tables = read_tables(document, problems)
    chain = wire(tables, Path(path).absolute(), problems)
    return replace(chain, text=text), problems, KeyLines(str(path), text)


def find_chain(text: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the chain file that `text` names: by its path, or by the name of a started chain.

    Raises
    ------
    UsageError
        It is neither; the sentence lists the known names.
    """
    path = Path(text)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise UsageError(f"there is no chain file {text}: {error.strerror}") from error
    if is_file:
        return path
    named = is_name(text)
    # A chain often has the name of the folder that it is in.
    recorded = RunDirectory.locate(text, environ).chain_file(text) if named else None
    if recorded is None:
        if is_folder:
            raise UsageError(
                f"{text} is a folder, expected a chain file; did you mean {path / 'chain.toml'}?"
            )
        if not named:
            raise UsageError(f"there is no chain file {text}")
        if hidden := find_hidden(text, environ):
            raise UsageError(hidden)
        known = list_known_chains(environ)
        meant = did_you_mean(text, known) if known else "; no chain is running"
        raise UsageError(f"there is no chain file and no running chain {text!r}{meant}")
    return recorded


def read_text(path: Path) -> str:
    """Return the text of a chain file; ConfigurationError: it can't be read."""
    try:
        return path.read_text("utf-8-sig")  # some editors put a mark before the text
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the chain file can't be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: the chain file is not UTF-8 text") from error


def _explain(error: tomllib.TOMLDecodeError, path: str | Path, text: str) -> str:
    sentence, _, place = str(error).rpartition(" (at ")
    if found := re.match(r"line (\d+), column (\d+)", place):
        line, column = int(found[1]), int(found[2])
        sentence = _explain_value(sentence, text.split("\n")[line - 1], column) or sentence
        return f"{path}:{line}: this is not valid TOML: {sentence}"
    return f"{path}:{len(text.splitlines())}: this is not valid TOML: {sentence}"


def _explain_value(sentence: str, line: str, column: int) -> str:
    """Say what is wrong with a value that is none of TOML; empty: nobody knows."""
    if sentence == "Invalid value":
        match = re.match(r"([\w./~$+-][^\s,\]}#\"']*)", line[column - 1 :])
    elif sentence.startswith("Expected newline"):  # behind a number: 127.0.0.1, 5 s
        match = re.match(r"[^=]*=\s*([\w.+-][^=,#\"'\[\]{}]*?)\s*(?:#.*)?$", line)
    else:
        return ""
    if match is None:
        return ""
    word = match[1]
    if word in ("True", "False"):
        return f"found {word}, expected {word.lower()}"
    for number in int, float:  # 08, .5
        with contextlib.suppress(ValueError):
            return f"found {word}, expected {number(word)}"
    return f'found {word}, but text needs quotes: "{word}"'
