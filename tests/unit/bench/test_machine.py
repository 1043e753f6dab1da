from pathlib import Path

import pytest

from arroyo.bench.machine import describe_machine

ROOT = Path(__file__).parents[3]


def test_results_say_which_commit_and_machine_they_are_of():
    if not (ROOT / ".git").exists():
        pytest.skip("run in a git checkout, whose commit is told")
    found = describe_machine()
    assert found["commit"]
    assert found["cores"] >= 1
