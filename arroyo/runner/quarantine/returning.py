"""Sends messages from quarantine back into their chain, where that can take them.

It takes users' classes of messages to know that. So a program that is to stay up has it done by a
child: ``python -m arroyo.runner.quarantine.returning CHAIN_FILE ID...`` prints a JSON list of
`Returned`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from arroyo.codec import MessageCodec
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.shared_folders import find_folders
from arroyo.errors import ArroyoError, UnavailableError, UsageError
from arroyo.runner.user_code.loading import load_message_types

from .returnable import read_returnable, require_message
from .store import Quarantine, QuarantineEntry

TIMEOUT_S = 60.0
"""Imports over a slow network file system take their time."""
_SAID_CHARACTERS = 300

Check: TypeAlias = Callable[[QuarantineEntry, bytes], Any]
"""Raises UsageError where a chain can't take a message."""


class Returned(NamedTuple):
    """What has become of a message that was to go back."""

    id: str
    key: str
    enters: str
    """Stage that it goes back into."""
    refusal: str = ""
    """Why it stays in quarantine; empty: it goes back."""

    def __str__(self) -> str:
        if self.refusal:
            return f"{self.id} ({self.key}) stays in quarantine: {self.refusal}"
        return f"{self.id} ({self.key}) goes back into {self.enters}"


def send_back(
    store: Quarantine, file: Path | None, entries: Iterable[QuarantineEntry]
) -> Iterator[Returned]:
    """Send messages back, one after the other.

    `file`: the chain file; None: it is not known, and the source checks when the chain runs.

    ConfigurationError: the chain file or its classes have mistakes.
    """
    check = _make_check(file)
    for entry in entries:
        returned = Returned(entry.id, entry.key, entry.enters)
        try:
            check(entry, store.message(entry.id))
        except UsageError as error:
            yield returned._replace(refusal=str(error))
            continue
        store.requeue(entry.id)
        yield returned


def _make_check(file: Path | None) -> Check:
    """Return a check whether the chain, with its classes as they are now, takes a message."""
    if file is None:
        return lambda entry, _: require_message(entry)
    chain = load_accepted(file)
    codec = MessageCodec(load_message_types(chain))
    return lambda entry, packed: read_returnable(chain, codec, entry, packed)


def send_back_in_child(
    file: Path, ids: Sequence[str], environ: Mapping[str, str]
) -> list[Returned]:
    """Do as `send_back` in a child process, which may print, crash or hang as it likes.

    Raises
    ------
    UnavailableError
        It did not do it, or not in time.
    UsageError
        There is no such message.
    """
    words = [sys.executable, "-m", __name__, str(file), *ids]
    try:
        ended = subprocess.run(  # noqa: S603  (our own module, a path, and ids)
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            # No module of the current folder can stand in for a standard one.
            env={**environ, "PYTHONSAFEPATH": "1"},
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"importing the chain's classes took {TIMEOUT_S:g} s") from error
    try:
        answer = msgspec.json.decode(ended.stdout, type=list[Returned] | str)
    except msgspec.DecodeError as error:
        said = ended.stderr.decode(errors="replace").strip()[-_SAID_CHARACTERS:]
        raise UnavailableError(f"importing the chain's classes failed: {said}") from error
    if isinstance(answer, str):
        raise UsageError(answer)
    return answer


def _answer(file: Path, ids: Sequence[str]) -> None:
    """Do it in this process, and print what has become of it."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what users' modules print is no part of the answer
    answer: list[Returned] | str
    try:
        chain = load_accepted(file)
        store = Quarantine(find_folders(chain.name, os.environ).state.quarantine)
        answer = list(send_back(store, file, [store.find(number) for number in ids]))
    except ArroyoError as error:
        answer = str(error)
    with output:
        output.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), sys.argv[2:])
