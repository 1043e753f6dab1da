"""What tests need on a machine: where it is missing they are skipped, but in CI they fail."""

from __future__ import annotations

import os

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="run as root, who alone may give files to somebody else"
)


def require(missing: str) -> None:
    """End the test where something is missing; `missing` says what to install, empty if nothing."""
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
