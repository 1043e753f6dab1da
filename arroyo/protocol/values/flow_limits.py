"""How much a receiver is given at once, and how much ahead of its credits. PURE.

PROTOCOL 8: both follow the speed that the receiver tells in its credits.
"""

from __future__ import annotations

BATCH_MESSAGES = 4096
BATCH_S = 0.01
"""A batch holds what the receiver does in about this time, but 1 to BATCH_MESSAGES messages."""
AHEAD_MESSAGES = 8192
AHEAD_S = 0.05
"""A replica is given work ahead for about this time, but 2 to AHEAD_MESSAGES messages."""
AHEAD_BYTES = 64 * 1024 * 1024
FIRST_BATCH_MESSAGES = 32
"""Batch for a receiver that has not told its speed yet."""


def messages_at_once(message_s: float) -> int:
    """Return how many messages go into a batch for a receiver that takes so long over one."""
    return max(1, min(BATCH_MESSAGES, int(BATCH_S / max(message_s, 1e-9))))


def messages_ahead(message_s: float) -> int:
    """Return how many messages a receiver that takes so long over one may be given ahead."""
    return max(2, min(AHEAD_MESSAGES, int(AHEAD_S / max(message_s, 1e-9))))
