"""Publishers over ZeroMQ: to PULL sockets and to SUB sockets of other programs."""

from __future__ import annotations

import logging
import math
import time

import zmq

from arroyo.connectors.wire_format import write_outward
from arroyo.errors import UnavailableError
from arroyo.messages import Message
from arroyo.stages import Frame, Publisher

from .outside_socket import OutsideSocket, OutsideStage, choose_address
from .send_queue import TOTAL_BYTES, PeerLimit, SendQueue

_log = logging.getLogger(__name__)

SEND_SLICE_MS = 100
"""Maximum duration of one wait for a receiver with room, in ms."""
FULL_SLICE_S = 0.005
"""Duration of one wait while all receivers together have too much in their queues, in s."""
USUAL_S = 3.0
"""A wait that is shorter is not told of."""
STOP_WAIT_S = 1.0
"""How long `publish()` goes on waiting for a receiver after the stage was asked to stop, in s."""
STATUS_S = 10.0
"""Minimum interval between warnings of dropped messages, in s."""


class ZMQPublisher(OutsideStage, Publisher):
    """Sends by a PUSH socket: each message goes to one of the connected receivers.

    Delivery: a message counts as published when ZeroMQ has queued it for a receiver. Up to there
    delivery is at least once (after a crash of this stage some messages come twice, with the same
    run and sequence); what is queued when either end dies is lost.

    While no receiver is connected, or all are full, `publish()` waits, and with it the chain:
    nothing is dropped. `send_timeout_s` limits that.

    Parameters
    ----------
    address, host, port
        As for `ZMQListener`.
    bind
        Whether this end is the fixed point, which receivers connect to.
    high_water_mark
        Maximum number of messages in the queue of each receiver, at most 128 MiB judging by the
        first few (8 of any size); for all receivers together at most 512 MiB of large ones.
    send_timeout_s
        How long to wait for a receiver, in s; by default as long as it takes. A stage that is
        asked to stop waits for 1 s more.
    linger_s
        How long `close()` waits for what is queued, in s; after that it is lost.
    """

    _kind = zmq.PUSH
    _topic = b""

    def __init__(
        self,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = True,
        high_water_mark: int = 1000,
        send_timeout_s: float | None = None,
        linger_s: float = 5.0,
    ) -> None:
        limit = PeerLimit(high_water_mark)
        address = choose_address(type(self).__name__, address, host, port, bind=bind)
        self._outside = OutsideSocket(self._kind, address, bind=bind, high_water_mark=limit.mark)
        self._queue = SendQueue(self._outside, limit)
        self._linger_s = linger_s
        self._send_timeout_s = send_timeout_s

    def close(self) -> None:
        """Close the socket; wait up to `linger_s` for what is queued."""
        self._outside.close(self._linger_s)

    def publish(self, message: Message) -> None:
        """Queue the message for a receiver, and wait for one if need be.

        UnavailableError: none took it within `send_timeout_s`, or before the stage has to stop.
        """
        frames = self._frames(message)
        if self._queue.put(*frames):
            return
        begun_s = time.monotonic()
        give_up_s = math.inf if self._send_timeout_s is None else begun_s + self._send_timeout_s
        advice = "start one, or give it more time to work"
        while time.monotonic() < give_up_s:
            why = self._say_why(time.monotonic() - begun_s)
            if self.report_waiting(why) and time.monotonic() + STOP_WAIT_S < give_up_s:
                give_up_s = time.monotonic() + STOP_WAIT_S
                advice = "this stage was asked to stop, and the message stays with its source"
            self._wait_for_room()
            if self._queue.put(*frames):
                return
        raise UnavailableError(
            f"no receiver at {self.address} took a message within "
            f"{time.monotonic() - begun_s:.2g} s; {advice}"
        )

    def _say_why(self, waited_s: float) -> str:
        """Return what is waited for; nothing while that is what any receiver may take."""
        return "" if waited_s < USUAL_S else f"no receiver at {self.address} takes messages"

    def _wait_for_room(self) -> None:
        # Short, so that Python can run signal handlers in between.
        if self._outside.socket.poll(SEND_SLICE_MS, zmq.POLLOUT):
            time.sleep(FULL_SLICE_S)  # one has room, but all together hold too much

    def _frames(self, message: Message) -> tuple[bytes, bytes, Frame]:
        return (self._topic, *write_outward(message))


class ZMQPubSubPublisher(ZMQPublisher):
    """Sends by a PUB socket: every subscriber gets a copy, and none slows the chain down.

    Delivery: at most once. A subscriber misses what is sent before it has connected, and what it is
    too slow for beyond the high-water mark.

    Parameters
    ----------
    address, host, port
        As for `ZMQListener`.
    bind
        Whether this end is the fixed point, which subscribers connect to.
    topic
        First frame of each message, by which subscribers may select.
    high_water_mark
        As for `ZMQPublisher`. Beyond it a slow subscriber loses messages; beyond the 512 MiB of
        all subscribers together everybody does, which is logged.
    linger_s
        How long `close()` waits for what is queued, in s.
    """

    _kind = zmq.PUB

    def __init__(
        self,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = True,
        topic: str = "",
        high_water_mark: int = 1000,
        linger_s: float = 1.0,
    ) -> None:
        super().__init__(
            address,
            host=host,
            port=port,
            bind=bind,
            high_water_mark=high_water_mark,
            linger_s=linger_s,
        )
        self._topic = topic.encode()
        self._warn_at_s = 0.0
        self.dropped = 0
        """Messages that no subscriber got, since too much waited for slow ones."""

    def publish(self, message: Message) -> None:
        """Send a copy to every subscriber that has room for it, without waiting."""
        if not self._queue.put(*self._frames(message)):
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        if time.monotonic() >= self._warn_at_s:
            self._warn_at_s = time.monotonic() + STATUS_S
            _log.warning(
                "%d MiB wait for subscribers at %s that don't read; %d message(s) were dropped for "
                "all subscribers so far. End those that hang",
                TOTAL_BYTES >> 20,
                self.address,
                self.dropped,
            )
