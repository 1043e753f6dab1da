"""`Requeue`: sends messages back from quarantine, through the source that they came from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from arroyo.codec import Encoded, Kind, MessageCodec, Returned
from arroyo.config.graph import Chain
from arroyo.errors import ArroyoError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message
from arroyo.protocol.source.input import InputBatch
from arroyo.runner.assembly.topology import key_field
from arroyo.runner.user_code.dispatch_key import key_of

from .returnable import read_returnable
from .store import Quarantine, QuarantineEntry

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the source looks for messages to requeue, in s."""
AT_ONCE = 100
"""Most requeued messages in flight at a time; they do not count in the window."""


class Requeue:
    """The requeued messages of one source."""

    def __init__(
        self,
        chain: Chain,
        name: ReplicaName,
        store: Quarantine,
        codec: MessageCodec,
    ) -> None:
        self._name = name
        self._store = store
        self._codec = codec
        self._key_field = key_field(chain, name.stage)
        self._chain = chain
        self._in_flight: dict[int, tuple[Encoded, QuarantineEntry]] = {}
        # Runs of a fold overlap where those of several listeners go through it.
        above = chain.sources_above(name.stage)
        self._overlapping = sum(stage.replicas for stage in above) > 1
        self._look_at = 0.0

    @property
    def in_flight(self) -> bool:
        """Return True while any of them is sent and not finished."""
        return bool(self._in_flight)

    def look(
        self, now: float, open_runs: frozenset[str] | None, *, at_once: bool = False
    ) -> Iterator[InputBatch]:
        """Yield what has to be sent now; looks once a second, or `at_once`.

        A message goes back into its run while that is open, and else when no run is: so the stages'
        code never has to do with two runs of one source at a time, unless it has anyway.

        `open_runs`: runs of the source that have a Start and no Stop yet; None: wait, one is
        ending.
        """
        if open_runs is None or (now < self._look_at and not at_once):
            return
        self._look_at = now + LOOK_S
        known = {entry.id for _, entry in self._in_flight.values()}
        for entry in self._store.requeued(str(self._name)):
            if len(self._in_flight) >= AT_ONCE:
                return
            if entry.id not in known and (
                self._overlapping or not open_runs or entry.run in open_runs
            ):
                yield from self._send(entry, is_open=entry.run in open_runs)

    def _send(self, entry: QuarantineEntry, *, is_open: bool) -> Iterator[InputBatch]:
        try:
            message = self._read(entry)
            keys = None if self._key_field is None else [key_of(message, self._key_field)]
            returned = self._returned(entry, is_open=is_open)
            item = self._codec.encode(message)  # last: it may fill a slab
        except (ArroyoError, OSError) as error:
            _log.warning("%s can't be sent and stays in quarantine: %s", entry.key, error)
            self._store.take_back(entry.id)
            return
        _log.info("%s comes back from quarantine", entry.key)
        self._in_flight[id(item)] = item, entry
        yield InputBatch(
            Kind.EVENTS,
            [item],
            (None,),
            len(item),
            keys,
            enters=entry.enters,
            returned=returned,
        )

    def _returned(self, entry: QuarantineEntry, *, is_open: bool) -> Returned:
        place = entry.run, entry.epoch, entry.sequence, entry.path, entry.fragment
        if is_open:
            return Returned(*place)
        run = self._store.runs.find(entry.stage, entry.source, entry.run)
        same = [other for _, other in self._in_flight.values() if _run_of(other) == _run_of(entry)]
        returned = run.returned + len(same) + 1
        return Returned(*place, run.start, self._stop_without(run.stop, returned))

    def _stop_without(self, stop_then: bytes, returned: int) -> bytes:
        """Return a run's Stop with totals in which what was brought back is not quarantined."""
        if not stop_then:
            return b""
        stop = self._codec.unpack(stop_then)
        data = getattr(stop, "data", {})
        totals = data.get("totals")
        if isinstance(totals, dict) and isinstance(totals.get("quarantined"), int):
            data["totals"] = {**totals, "quarantined": max(0, totals["quarantined"] - returned)}
        return self._codec.pack(stop)

    def _read(self, entry: QuarantineEntry) -> Message:
        packed = self._store.message(entry.id)
        return read_returnable(self._chain, self._codec, entry, packed)

    def finish(self, items: Iterable[Encoded]) -> None:
        """Remove requeued messages from quarantine that are among these finished items."""
        if not self._in_flight:
            return
        for item in items:
            _, entry = self._in_flight.pop(id(item), (item, None))
            if entry is not None:
                self._store.finish(entry.id)


def _run_of(entry: QuarantineEntry) -> tuple[str, str]:
    return entry.stage, entry.run
