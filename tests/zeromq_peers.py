"""Plain pyzmq sockets, as a program of another project has them."""

from __future__ import annotations

import pytest
import zmq
from outside import DEADLINE_S

from arroyo.connectors.zeromq.send_queue import LARGE_BYTES


@pytest.fixture
def foreign():
    """Makes plain pyzmq sockets, as a program of another project would."""
    context = zmq.Context()
    kept = []

    def make(kind, *, bind="", connect=""):
        made = context.socket(kind)
        kept.append(made)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = int(DEADLINE_S * 1000)
        if kind == zmq.SUB:
            made.subscribe(b"")
        if bind:
            made.bind(bind)
        if connect:
            made.connect(connect)
        return made

    yield make
    for made in kept:
        made.close()
    context.term()


@pytest.fixture(scope="module")
def keeper_of_large_frames():
    """pyzmq starts a thread for the first large frame, and keeps it until the process ends."""
    with zmq.Context() as context, context.socket(zmq.PUB) as made:
        made.send(zmq.Frame(bytes(LARGE_BYTES), copy=False, track=True))


def endpoint(made):
    return made.getsockopt_string(zmq.LAST_ENDPOINT)
