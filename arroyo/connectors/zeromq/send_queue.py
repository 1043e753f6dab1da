"""Limits in bytes for what waits in a sending ZeroMQ socket, which itself counts messages only.

Two limits work together in a `SendQueue`:

- `PeerLimit` sets the socket's high-water mark, so that the messages for one peer take up to
  `PEER_BYTES`. The mark may change only once, before any peer's queue was full: libzmq may never
  find room again in a queue that is full when its mark changes.
- `HeldBytes` counts large payloads until ZeroMQ releases them, for all peers together. That also
  limits streams in which large messages follow small ones.
"""

from __future__ import annotations

import zmq

from arroyo.stages import Frame

from .outside_socket import OutsideSocket

FIRST_MESSAGES = 8
"""High-water mark until so many messages have shown how large they are."""
PEER_BYTES = 128 * 1024 * 1024
"""Maximum size of the messages that wait for one peer; FIRST_MESSAGES may always wait."""
TOTAL_BYTES = 4 * PEER_BYTES
"""Maximum size of the large payloads that wait for all peers."""
LARGE_BYTES = 64 * 1024
"""Payloads of this size or more are counted; the high-water mark limits smaller ones."""


class PeerLimit:
    """Chooses a socket's high-water mark from the sizes of the first messages. PURE.

    `messages`: the mark for small messages, and the highest there is.
    """

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._left = min(FIRST_MESSAGES, messages) - 1
        self._largest_bytes = 1
        self.mark = min(FIRST_MESSAGES, messages)
        """The high-water mark for the present."""

    def note(self, message_bytes: int) -> bool:
        """Note the size of a message that was sent; return True if `mark` has to be set now."""
        if self._left <= 0:
            return False
        self._left -= 1
        self._largest_bytes = max(self._largest_bytes, message_bytes)
        if self._left:
            return False
        self.mark = max(self.mark, min(self._messages, PEER_BYTES // self._largest_bytes))
        return True


class HeldBytes:
    """Counts the bytes of large payloads that a socket has not released."""

    def __init__(self) -> None:
        self._held: list[tuple[zmq.MessageTracker, int]] = []
        self._bytes = 0

    def has_room(self, payload_bytes: int) -> bool:
        """Return True if a payload may be added; the first one always may."""
        if self._bytes + payload_bytes > TOTAL_BYTES:
            self._held = [each for each in self._held if not each[0].done]
            self._bytes = sum(size for _, size in self._held)
        return self._bytes + payload_bytes <= TOTAL_BYTES or not self._held

    def add(self, tracker: zmq.MessageTracker, payload_bytes: int) -> None:
        """Count a payload until its tracker says that it is done."""
        self._held.append((tracker, payload_bytes))
        self._bytes += payload_bytes


class SendQueue:
    """The queue of a sending socket, within limits.

    `outside`: the socket, made with the mark of `limit`.
    `limit`: how many messages may wait for one peer.
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
        # A copy: the payload may be memory that is reused later.
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
