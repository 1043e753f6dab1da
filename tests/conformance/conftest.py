"""Fixtures of the tests that run whole chains, and of those that every broker is put through.

A line of the contract that a broker's connectors can't keep is in its `lacks`: that test has to
fail there, and their page has to say so.
"""

from itertools import count

import pytest
from brokers import BROKERS, load_broker
from chains import make_chain

__all__ = ["make_chain"]

TURNS = count(1)


@pytest.fixture(scope="module", params=BROKERS, ids=lambda spec: spec.partition(":")[2])
def kind(request):
    """A kind of broker."""
    return load_broker(request.param)


@pytest.fixture(scope="module")
def server(kind, tmp_path_factory):
    """A server for all tests of a module, since some take seconds to start."""
    server = kind.make_server(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def broker(request, kind, server):
    """The test's part of a running server, which it may kill."""
    line = request.node.originalname
    if line in kind.lacks:
        request.applymarker(pytest.mark.xfail(strict=True, reason=kind.lacks[line]))
    broker = kind(server, next(TURNS))
    try:
        yield broker
    finally:
        broker.close()
        server.start()
