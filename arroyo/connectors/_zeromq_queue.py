"""Bounds in bytes for what waits in a sending ZeroMQ socket, which itself counts messages only.

Two bounds work together in a `SendQueue`:

- `PeerLimit` sets the socket's high-water mark, so that the messages for one peer take up to
  `PEER_BYTES`. The mark may change only once, before any peer's queue was full: libzmq may never
  find room again in a queue that is full when its mark changes.
- `HeldBytes` counts large payloads until ZeroMQ lets go of them, for all peers together. That
  also bounds streams in which large messages follow small ones.
"""

from __future__ import annotations

import zmq

from arroyo.stages import Frame

from ._zeromq_socket import OutsideSocket

FIRST_MESSAGES = 8
"""High-water mark until the first messages have told how large they are."""
PEER_BYTES = 128 * 1024 * 1024
"""Messages that wait for one peer may have this size together; FIRST_MESSAGES always may wait."""
TOTAL_BYTES = 4 * PEER_BYTES
"""Large payloads that wait for all peers may have this size together."""
LARGE_BYTES = 64 * 1024
"""Payloads from this size on are counted; the high-water mark bounds smaller ones well enough."""


class PeerLimit:
    """Chooses a socket's high-water mark from the sizes of the first messages. PURE.

    Parameters
    ----------
    messages
        The mark for small messages, and the highest there is.
    """

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._left = min(FIRST_MESSAGES, messages) - 1
        self._largest_bytes = 1
        self.mark = min(FIRST_MESSAGES, messages)
        """The high-water mark to begin with, and then the one to keep."""

    def note(self, message_bytes: int) -> bool:
        """Note the size of a message that was sent; return True if `mark` is to be set now."""
        if self._left <= 0:
            return False
        self._left -= 1
        self._largest_bytes = max(self._largest_bytes, message_bytes)
        if self._left:
            return False
        self.mark = max(self.mark, min(self._messages, PEER_BYTES // self._largest_bytes))
        return True


class HeldBytes:
    """Counts the bytes of large payloads that a socket has taken and not let go of."""

    def __init__(self) -> None:
        self._held: list[tuple[zmq.MessageTracker, int]] = []
        self._bytes = 0

    def has_room(self, payload_bytes: int) -> bool:
        """Return True if a payload may be added; one always may."""
        if self._bytes + payload_bytes > TOTAL_BYTES:
            self._held = [each for each in self._held if not each[0].done]
            self._bytes = sum(size for _, size in self._held)
        return self._bytes + payload_bytes <= TOTAL_BYTES or not self._held

    def add(self, tracker: zmq.MessageTracker, payload_bytes: int) -> None:
        """Count a payload until its tracker says that it is done."""
        self._held.append((tracker, payload_bytes))
        self._bytes += payload_bytes


class SendQueue:
    """What waits in a sending socket, within bounds.

    Parameters
    ----------
    outside
        The socket, made with the mark of `limit`.
    limit
        How many messages may wait for one peer.
    """

    def __init__(self, outside: OutsideSocket, limit: PeerLimit) -> None:
        self._outside = outside
        self._limit = limit
        self._held = HeldBytes()

    def put(self, topic: bytes, header: bytes, payload: Frame) -> bool:
        """Queue a message, whose payload is copied; return False where there is no room for it."""
        size = len(payload)
        if not (self._put_large if size >= LARGE_BYTES else self._send)(topic, header, payload):
            return False
        if self._limit.note(len(header) + size):
            self._outside.socket.set_hwm(self._limit.mark)
        return True

    def _put_large(self, topic: bytes, header: bytes, payload: Frame) -> bool:
        size = len(payload)
        if not self._held.has_room(size):
            return False
        # A copy of its own: the payload may be somebody else's memory later.
        frame = zmq.Frame(bytes(payload), copy=False, track=True)
        if not self._send(topic, header, frame):
            return False
        assert frame.tracker is not None
        self._held.add(frame.tracker, size)
        return True

    def _send(self, *frames: Frame | zmq.Frame) -> bool:
        try:
            self._outside.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
