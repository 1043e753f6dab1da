import importlib
import sys

import pytest

from arroyo import ConfigurationError
from arroyo.connectors.extras import needed_for


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with (
        pytest.raises(
            ConfigurationError,
            match=r'the Redis connector needs redis, .*: pip install "arroyo\[redis\]"',
        ),
        needed_for("the Redis connector", "redis"),
    ):
        importlib.import_module("redis")
