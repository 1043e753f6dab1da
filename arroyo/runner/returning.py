"""`Returning`: messages on their way back from quarantine, through the source that they are of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from arroyo.codec import Encoded, Kind, MessageCodec
from arroyo.config.graph import Chain
from arroyo.control.quarantine import Entry, Quarantine
from arroyo.errors import ArroyoError, DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message
from arroyo.protocol.runs import Intake

from .calls import key_of
from .wiring import key_field

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the source looks for messages that people want back."""
AT_ONCE = 100
"""So many of them are on their way at a time, beside the window."""


class Returning:
    """What one source has to send again because people asked for it.

    Parameters
    ----------
    chain, name
        The source's replica.
    store
        The quarantine of the chain.
    codec
        Of the chain.
    encode
        Encodes a message to be sent.
    """

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
        self._places = {name.stage, *(stage.name for stage in chain.below(name.stage))}
        self._under_way: dict[int, tuple[Encoded, str]] = {}
        self._look_at = 0.0

    def look(self, now: float) -> Iterator[Intake]:
        """Yield what has to be sent, at most once a second."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        known = {number for _, number in self._under_way.values()}
        for entry in self._store.requeued(str(self._name)):
            if len(self._under_way) >= AT_ONCE:
                return
            if entry.id not in known:
                yield from self._send(entry)

    def _send(self, entry: Entry) -> Iterator[Intake]:
        try:
            message = self._read(entry)
            keys = None if self._key_field is None else [key_of(message, self._key_field)]
            item = self._codec.encode(message)
        except ArroyoError as error:
            _log.warning("%s can't be sent and stays in quarantine: %s", entry.key, error)
            self._store.take_back(entry.id)
            return
        _log.info("%s comes back from quarantine", entry.key)
        self._under_way[id(item)] = item, entry.id
        yield Intake(Kind.EVENTS, [item], (None,), len(item), keys, enters=entry.enters)

    def _read(self, entry: Entry) -> Message:
        if not entry.type:
            raise DecodeError("it could not be read, so it is no message")
        if entry.enters not in self._places:
            raise DecodeError(f"the chain has no stage {entry.enters} below {self._name.stage}")
        return self._codec.unpack(self._store.message(entry.id))

    def finish(self, items: Iterable[Encoded]) -> None:
        """These will never be sent again: what had come back is done with."""
        if not self._under_way:
            return
        for item in items:
            _, number = self._under_way.pop(id(item), (item, None))
            if number is not None:
                self._store.finish(number)
