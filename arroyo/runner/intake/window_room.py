"""`WindowRoom`: how much is in the window, and how much may be."""

from __future__ import annotations

from arroyo.config.graph import Stage

from .waiting_batches import WaitingBatches

ROOMY = 8
"""A listener that found the window full may go on when one part in so many of it is free."""
BUSY = 4
"""Much is in it when one part in so many of it is taken, by so many messages at least."""


class WindowRoom:
    """Counts messages and bytes from when they are handed over until they are finished."""

    def __init__(self, stage: Stage) -> None:
        self._messages = self._size = 0
        self._window = stage.window
        self._window_bytes = stage.window_bytes
        # Half of the window stays in front of the ledger: what is in there can't be dropped any
        # more.
        self._halves = stage.when_full == "drop-oldest"

    @property
    def left(self) -> tuple[int, int]:
        """Room for so many messages, of so many bytes; less than 0 where there are too many."""
        return self._window - self._messages, self._window_bytes - self._size

    def fits(self, size: int) -> bool:
        """Whether there is room for one message of `size` bytes."""
        if self._messages == 0:
            return True  # or a message larger than the window could never pass
        return self._messages < self._window and self._size + size <= self._window_bytes

    @property
    def is_roomy(self) -> bool:
        """Whether there is room for many."""
        messages, size = self.left
        return messages >= max(1, self._window // ROOMY) and size >= self._window_bytes // ROOMY

    @property
    def is_busy(self) -> bool:
        """Whether much is in it."""
        return self._messages >= BUSY and (
            self._messages * BUSY >= self._window or self._size * BUSY >= self._window_bytes
        )

    def add(self, messages: int, size: int) -> None:
        """Count messages that were handed over."""
        self._messages += messages
        self._size += size

    def release(self, messages: int, size: int) -> None:
        """Take back messages that are finished, or dropped."""
        # A Stop that the source made itself is finished as well, but nobody handed it over.
        self._messages = max(0, self._messages - messages)
        self._size = max(0, self._size - size)

    def sendable(self, waiting: WaitingBatches) -> int:
        """Return how many messages of the first batch may be sent."""
        if waiting.first is None:
            return 0
        items = waiting.first.items
        if not self._halves:
            return len(items)
        messages_max, size_max = max(1, self._window // 2), self._window_bytes // 2
        sent, size = self._messages - waiting.messages, self._size - waiting.size
        count = 0
        for item in items:
            if sent and (sent >= messages_max or size >= size_max):
                break
            sent, size, count = sent + 1, size + len(item), count + 1
        return count
