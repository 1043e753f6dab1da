"""`Exporter`: answers to ``/metrics`` and ``/health`` about one chain, whether it runs or not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import msgspec
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

from arroyo.config.reader import load_chain
from arroyo.errors import ArroyoError, ConfigurationError
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.supervision.reporting.status import StatusReader
from arroyo.web.http_request import Answer, Request

from .collector import ChainCollector

FRESH_S = 0.5
"""For so long a chain is not looked at again, however many ask."""


class Exporter:
    """Looks at a chain when it is asked.

    The chain file is read again when it has changed; while it has mistakes, the chain is the one
    that it was.

    ConfigurationError: the chain file has mistakes.
    UsageError: the chain can't be seen from here.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._collector = ChainCollector(version("arroyo"))
        self._file = _signature(path)
        self._chain = load_chain(path, environ)
        self._reader = StatusReader(self._chain, environ)
        self._snapshot = self._reader.read()

    @property
    def chain(self) -> str:
        """Name of the chain."""
        return self._chain.name

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        try:
            if request.path == "/metrics":
                return self._metrics(request.accept)
            if request.path == "/health":
                return self._health()
        except ArroyoError as error:
            return Answer.refusing(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return Answer.refusing(HTTPStatus.NOT_FOUND, "there are /metrics and /health")

    def _metrics(self, accept: str) -> Answer:
        snapshot = self._look()
        encode, content_type = choose_encoder(accept)
        families = _Collected(self._collector.collect(self._chain, snapshot))
        return Answer(HTTPStatus.OK, encode(families), content_type)

    def _health(self) -> Answer:
        status = self._look().status
        not_ready = {
            f"{row['stage']}.{row['replica']}": row["state"]
            for row in status["stages"]
            if row["state"] != State.READY and not row["stopped_by"]
        }
        told = {"chain": status["chain"], "state": status["state"], "not_ready": not_ready}
        well = status["state"] == State.READY
        code = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(code, msgspec.json.encode(told) + b"\n", "application/json")

    def _look(self) -> Snapshot:
        if time.monotonic() - self._snapshot.time_s > FRESH_S:
            self._follow_file()
            self._snapshot = self._reader.read()
        return self._snapshot

    def _follow_file(self) -> None:
        if (file := _signature(self._path)) == self._file:
            return
        self._file = file
        with contextlib.suppress(ConfigurationError):
            self._chain = load_chain(self._path, self._environ)
            self._reader = StatusReader(self._chain, self._environ)


class _Collected:
    """Metric families, as the encoders of prometheus-client take them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what differs once a file has changed; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
