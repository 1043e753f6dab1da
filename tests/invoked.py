"""Commands of Arroyo, called in this process."""

from __future__ import annotations

from click.testing import CliRunner


def run_by(command):
    """Return a function that runs a command, expects its exit code, and returns what it says."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run
