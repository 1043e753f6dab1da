"""`RecordReader`: reads records from sockets; rejects other frames, and records of strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import zmq

from arroyo.codec import BackRecord, Batch, DataRecord, Open, decode_back, decode_data
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName

from .link_events import BackRecordReceived, DataReceived, LinkEvent, SubscriptionConfirmed

RECORDS_AT_ONCE = 64
"""Most records read before the caller checks the time and signals again."""
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
"""A socket is asked whether there is more: `zmq.Again` takes three times as long to raise."""


class RecordReader:
    """Reads the records that one replica takes.

    Parameters
    ----------
    above, below
        Replicas whose records are taken: neighbours that send data, and all that answer. Records
        of others are rejected, since answering a stranger needs an address that it doesn't have.
    reject
        Called with the error for each frame that is no record, and each record of a stranger.
    """

    def __init__(
        self,
        above: Iterable[ReplicaName],
        below: Iterable[ReplicaName],
        reject: Callable[[DecodeError], None],
    ) -> None:
        self._above = frozenset(map(str, above))
        self._below = frozenset(below)
        self._reject = reject

    def read_back(self, socket: zmq.Socket[bytes]) -> Iterator[LinkEvent]:
        """Yield records from below, of a socket that has some."""
        for count in range(RECORDS_AT_ONCE):
            if count and not int(socket.get(_EVENTS)) & _POLLIN:
                return
            header = socket.recv(zmq.NOBLOCK)
            try:
                record = decode_back(header)
                if (record.stage, record.replica) not in self._below:
                    raise _stranger(record, f"{record.stage}.{record.replica}", "below")
            except DecodeError as error:
                self._reject(error)
            else:
                yield BackRecordReceived(record)

    def read_data(self, socket: zmq.Socket[bytes]) -> Iterator[LinkEvent]:
        """Yield records from above, of a socket that has some; payloads are views of frames."""
        for count in range(RECORDS_AT_ONCE):
            if count and not int(socket.get(_EVENTS)) & _POLLIN:
                return
            frame = socket.recv(zmq.NOBLOCK, copy=False)
            header = frame.buffer
            frames: list[bytes | memoryview] = []
            while frame.more:
                frame = socket.recv(copy=False)
                frames.append(frame.buffer.toreadonly())
            try:
                record = decode_data(header)
                if isinstance(record, Open):
                    sender = f"{record.stage}.{record.replica}"
                else:
                    sender = record.sender
                    if not frames and isinstance(record, Batch):
                        raise DecodeError("a batch came without its body")
                if sender not in self._above:
                    raise _stranger(record, sender, "above")
            except DecodeError as error:
                self._reject(error)
            else:
                if isinstance(record, Open) and socket.type == zmq.SUB:
                    yield SubscriptionConfirmed(ReplicaName(record.stage, record.replica))
                else:
                    yield DataReceived(record, frames)


def _stranger(record: DataRecord | BackRecord, name: str, side: str) -> DecodeError:
    return DecodeError(
        f"{type(record).__name__} of {name:.80}, which is no stage {side} this one; does another "
        "chain use this address?"
    )
