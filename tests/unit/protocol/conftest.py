"""Fixtures of the tests of the link protocol."""

import pytest

from arroyo.protocol.sending import dispatcher, replica_link


@pytest.fixture
def small_batches(monkeypatch):
    """With real bounds nothing would ever wait in the small chains of the model."""
    monkeypatch.setattr(dispatcher, "SEQUENCE_BLOCK", 2)
    monkeypatch.setattr(replica_link, "FIRST_BATCH_MESSAGES", 2)
