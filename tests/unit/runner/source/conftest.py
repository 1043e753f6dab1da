"""Fixtures of the tests of listeners' replicas."""

import pytest
from stage_fakes import ScriptedContext, line_of


@pytest.fixture
def replica(tmp_path):
    """The replica of a listener, without neighbours."""
    chain = line_of(
        tmp_path, ("listener", "src", "own:Src", {}), ("publisher", "sink", "own:Sink", {})
    )
    with ScriptedContext(chain, "src", lambda action: ()) as context:
        yield context
        context.runs.close()
