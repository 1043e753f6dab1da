"""`Exporter`: answers to ``/metrics`` and ``/health`` about one chain, whether it runs or not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import msgspec
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

from arroyo.errors import ArroyoError
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.chain_reader import ChainReader
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.web.http_request import Answer, Request

from .collector import ChainCollector

FRESH_S = 0.5


class Exporter:
    """Looks at a chain when it is asked.

    `fresh_s`: for so long it is not looked at again, however many ask.
    Other parameters and errors are those of `ChainReader`.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], *, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._collector = ChainCollector(version("arroyo"))
        self._reader = ChainReader(path, environ)
        self._snapshot = self._reader.read()

    @property
    def chain(self) -> str:
        """Name of the chain."""
        return self._reader.chain.name

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
        families = _Collected(self._collector.collect(self._reader.chain, snapshot))
        return Answer(HTTPStatus.OK, encode(families), content_type)

    def _health(self) -> Answer:
        status = self._look().status
        not_ready = {
            f"{row['stage']}.{row['replica']}": row["state"]
            for row in status["stages"]
            if row["state"] != State.READY and not row["stopped_by"]
        }
        told = {"chain": status["chain"], "state": status["state"], "not_ready": not_ready}
        is_silent = status["supervisor_answers"] is False
        if is_silent:
            not_ready["supervisor"] = "no answer"
        well = status["state"] == State.READY and not is_silent
        code = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(code, msgspec.json.encode(told) + b"\n", "application/json")

    def _look(self) -> Snapshot:
        if time.monotonic() - self._snapshot.time_s > self._fresh_s:
            self._snapshot = self._reader.read()
        return self._snapshot


class _Collected:
    """Metric families, as the encoders of prometheus-client take them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
