"""The chain by hand with types, as most users' are: each process decodes and encodes each message.

It is the chain of `handwritten` with msgspec's codecs, the fastest there are. A message has the
metadata and the payload of ours.
"""

from __future__ import annotations

from typing import Any

import msgspec
import zmq

from arroyo.bench.case import Case, Measurement
from arroyo.bench.meter import Meter

from .handwritten import Loops, first, run_by_hand, work_by_hand
from .processes import read_job


class Datum(msgspec.Struct, tag=True, array_like=True):
    """A message: metadata and bytes."""

    metadata: dict[str, Any]
    payload: bytes


def run_typed(case: Case) -> Measurement:
    """Run the chain once; errors as in `run_handwritten`."""
    return run_by_hand(__spec__.name, case)


def _send_all(below: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    encode, payload = msgspec.msgpack.Encoder().encode, bytes(case.payload_bytes)
    meter.begin()
    for index in range(case.events):
        below.send(encode(Datum({"index": index}, payload)))


def _relay_all(above: zmq.Socket[bytes], below: zmq.Socket[bytes], _: Case, meter: Meter) -> None:
    """Pass on until told to end."""
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Datum).decode
    below.send(encode(decode(first(above, meter))))
    while True:
        below.send(encode(decode(above.recv())))


def _receive_all(above: zmq.Socket[bytes], _: Case, meter: Meter) -> None:
    decode = msgspec.msgpack.Decoder(Datum).decode
    decode(first(above, meter))
    while not meter.arrive():
        decode(above.recv())


if __name__ == "__main__":
    work_by_hand(read_job(), Loops(_send_all, _relay_all, _receive_all))
