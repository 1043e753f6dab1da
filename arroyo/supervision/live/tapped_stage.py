"""`TappedStage`: looks at messages that pass through a stage of a running chain."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from arroyo.codec import Batch, decode_data, in_one_piece
from arroyo.config.graph import Chain
from arroyo.config.private_folder import name_of
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.config.suggestions import did_you_mean
from arroyo.control.locks import owner
from arroyo.control.requests import not_running
from arroyo.control.tap_file import Sample, TapFile
from arroyo.durable.recording import RecordedMessage
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName

from .tapped_message import describe, line_of

LOOK_EVERY_S = 0.02
ALIVE_EVERY_S = 0.5
"""How often it is looked whether there is still something to tap."""


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

    def __init__(self, chain: Chain, stage: str, environ: Mapping[str, str]) -> None:
        self.chain = chain
        if hidden := find_hidden(chain.name, environ):
            raise UsageError(hidden)
        self._run_directory = RunDirectory.locate(chain.name, environ)
        self._names = names_of(self.chain, stage)
        if self.chain.stages[self._names[0].stage].role == "program":
            raise UsageError(
                f"{stage} of chain {self.chain.name} is a program, which no message passes through"
            )
        self._require_own()
        if not self._is_alive():
            raise self._not_running(stage)
        self._taps: dict[str, TapFile] = {}
        self._asked_at: dict[str, float] = {}
        self._ask_at: dict[str, float] = {}
        """When each of them may be asked again, in s (monotonic)."""

    def _require_own(self) -> None:
        """Raise for root: a stage takes nothing from others, not even from root."""
        with suppress(FileNotFoundError):
            user = self._run_directory.path.stat().st_uid
            if user != os.geteuid():
                raise UsageError(
                    f"chain {self.chain.name} belongs to {name_of(user)}; tap it as that user"
                )

    def _not_running(self, stage: str) -> UnavailableError:
        name = self.chain.name
        if not any(owner(lock) is not None for lock in self._run_directory.locks):
            error = not_running(name, self.chain.path)
            return UnavailableError(f"{error} (with --in-process nothing can be tapped)")
        why = "does not run, and no supervisor starts it; what does run"
        if self.may_go_on():
            why = "has no process at the moment; why that is, and whether it starts again"
        return UnavailableError(f"{stage} of chain {name} {why}: arroyo status {name}")

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

    def messages(self, rate_per_s: float, bytes_per_s: float) -> Iterator[SeenMessage]:
        """Yield what passes, at most so much a second, until the stage has ended."""
        look_at = time.monotonic() + ALIVE_EVERY_S
        while True:
            yield from self.look(rate_per_s, bytes_per_s)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + ALIVE_EVERY_S
                if not self.may_go_on():
                    return
            time.sleep(LOOK_EVERY_S)

    def look(self, rate_per_s: float, bytes_per_s: float) -> Iterator[SeenMessage]:
        """Yield what has passed since it was asked for, and ask for more; without waiting."""
        for name, tap in self._taps.items():
            if tap.waits:
                if (sample := tap.take()) is not None:
                    yield _seen(name, sample)
                    size = len(sample.message) + sample.payload_bytes
                    rest_s = len(self._taps) * size / bytes_per_s
                    self._ask_at[name] = max(self._ask_at[name], self._asked_at[name] + rest_s)
            elif (now := time.monotonic()) >= self._ask_at.get(name, 0.0):
                self._asked_at[name] = now
                self._ask_at[name] = now + len(self._taps) / rate_per_s
                tap.ask()

    def may_go_on(self) -> bool:
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
