"""What `arroyo new` writes runs to its end under the supervisor, in order and complete."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from arroyo.cli.commands.new import command

PROGRAMS = Path(sys.executable).parent


def test_a_new_chain_runs_to_its_end(tmp_path):
    folder = tmp_path / "first"
    assert CliRunner().invoke(command, [str(folder)]).exit_code == 0
    ended = subprocess.run(
        [PROGRAMS / "arroyo-supervise", "chain.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    numbers = [int(line.split()[0]) for line in (folder / "rates.txt").read_text().splitlines()]
    assert numbers == list(range(100))
