"""`arroyo-supervise`: what it answers before a chain runs; the rest is in integration tests."""

import pytest
from click.testing import CliRunner

from arroyo.cli.supervise import main


@pytest.mark.parametrize("options", [[], ["--in-process"]])
def test_a_chain_that_is_nowhere_is_asked_for_in_vain(options):
    result = CliRunner().invoke(main, ["none.toml", *options])
    assert result.exit_code == 64
    assert "none.toml" in result.output


@pytest.mark.parametrize("options", [[], ["--in-process"]])
def test_a_chain_file_with_mistakes_is_not_started(chain_file, options):
    chain_file.write_text(chain_file.read_text().replace("inputs", "input"))
    result = CliRunner().invoke(main, [str(chain_file), *options])
    assert result.exit_code == 78
    assert "did you mean 'inputs'?" in result.output


def test_it_is_told_which_chain_to_run():
    assert "Missing argument 'CHAIN'" in CliRunner().invoke(main, []).output
