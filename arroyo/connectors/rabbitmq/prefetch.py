"""`Prefetch`: how many messages a listener asks a RabbitMQ server for. PURE."""

from __future__ import annotations

from arroyo.errors import ConfigurationError

FIRST_MESSAGES = 16
"""Number of messages to ask for until their sizes are known."""
WAITING_MESSAGES = 8000
WAITING_BYTES = 256 * 1024 * 1024
"""By default, the maximum number and total size of messages to ask for."""


class Prefetch:
    """The number of messages that a listener asks for: as given, or by their sizes.

    `given`: the option `prefetch`; None to follow the sizes.
    """

    def __init__(self, given: int | None) -> None:
        if given is not None and not 1 <= given <= 65_535:
            raise ConfigurationError(
                f"RabbitMQListener: prefetch is {given}; expected a number from 1 to 65535"
            )
        self.first = given or FIRST_MESSAGES
        self.more = 0
        """Messages to ask for beyond `first`."""
        self._unseen = FIRST_MESSAGES if given is None else -1
        self._largest_bytes = 1

    def note(self, size: int) -> bool:
        """Note the size of a message; return True if `more` has changed."""
        self._unseen -= 1
        self._largest_bytes = max(self._largest_bytes, size)
        wanted = min(WAITING_MESSAGES, WAITING_BYTES // self._largest_bytes) - FIRST_MESSAGES
        # Up once, after the first messages; down when they become much larger.
        if (self._unseen == 0 and wanted > 0) or 2 * max(0, wanted) < self.more:
            self.more = max(0, wanted)
            return True
        return False
