"""Fixtures of the tests of operators' and publishers' replicas."""

import sys

import pytest
from stage_fakes import ScriptedContext, line_of

from arroyo.runner.relay.role import equip


@pytest.fixture
def line(tmp_path):
    """A chain of the listener `src`, the operator `work` and the publisher `sink`."""
    return line_of(
        tmp_path,
        ("listener", "src", "own:Src", {}),
        ("operator", "work", "own:Work", {}),
        ("publisher", "sink", "own:Sink", {}),
    )


@pytest.fixture
def context(line):
    """The replica of `work`, without neighbours."""
    with ScriptedContext(line, "work", lambda action: ()) as context:
        yield context


@pytest.fixture
def equipment(context):
    return equip(context)


@pytest.fixture(autouse=True)
def switches_as_before():
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)
