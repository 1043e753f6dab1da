"""How much is fuzzed: a minute in all, or ARROYO_FUZZ times as much.

``ARROYO_FUZZ=100 pytest tests/fuzz`` takes an hour or more and finds more.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

EFFORT = int(os.environ.get("ARROYO_FUZZ", "1"))


def fuzzed(examples):
    """Run a hypothesis test on so many examples, and more where that was asked for."""
    chosen = settings(
        max_examples=examples * EFFORT,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test):
        return pytest.mark.timeout(120 * EFFORT)(chosen(test))

    return decorate
