"""The scripts that measure and try chains find the commands that they are made of."""

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.parametrize("script", ["bench", "bench-peers", "faults"])
def test_a_script_finds_its_command(script):
    ended = subprocess.run(
        [SCRIPTS / script, "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("Usage:")
