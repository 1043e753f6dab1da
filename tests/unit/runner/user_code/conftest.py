import signal

import pytest


@pytest.fixture
def _signals_taken_over():
    """SIGINT is somebody else's, as in a stage's process."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)
