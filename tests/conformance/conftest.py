"""Fixtures of the tests that run whole chains, and of those that every broker is put through.

A line of the contract that a broker's connectors can't keep is in its `lacks`: that test has to
fail there, and their page has to say so.
"""

import pytest
from brokers import BROKERS, load_broker
from chains import make_chain

__all__ = ["make_chain"]


@pytest.fixture(params=BROKERS, ids=lambda spec: spec.partition(":")[2])
def broker(request, tmp_path):
    """A running broker."""
    broker = load_broker(request.param, tmp_path / "broker")
    line = request.node.originalname
    if line in broker.lacks:
        request.applymarker(pytest.mark.xfail(strict=True, reason=broker.lacks[line]))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
