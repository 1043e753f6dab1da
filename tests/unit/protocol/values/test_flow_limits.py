from __future__ import annotations

import pytest

from arroyo.protocol.values.flow_limits import (
    AHEAD_MESSAGES,
    BATCH_MESSAGES,
    messages_ahead,
    messages_at_once,
)


@pytest.mark.parametrize(
    ("message_s", "at_once", "ahead"),
    [
        (0.0, BATCH_MESSAGES, AHEAD_MESSAGES),
        (1e-6, BATCH_MESSAGES, AHEAD_MESSAGES),
        (0.001, 10, 50),
        (0.02, 1, 2),
        (60.0, 1, 2),
    ],
)
def test_a_receiver_is_given_what_it_does_in_a_fixed_time(message_s, at_once, ahead):
    assert messages_at_once(message_s) == at_once
    assert messages_ahead(message_s) == ahead
