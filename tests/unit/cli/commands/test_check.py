import pytest
from click.testing import CliRunner

from arroyo.cli.commands.check import command

CHAIN = """
[chain]
name = "sums"

[stages.numbers]
listener = "sum_stages:Numbers"

[stages.sums]
operator = "sum_stages:Sums"
inputs = ["numbers"]
replicas = 3
"""

STAGES = """
import arroyo

class Numbers(arroyo.IteratingListener):
    def messages(self):
        return iter(())

class Sums(arroyo.Operator):
    def process(self, message):
        return message
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Run the command on a chain file of that text, in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sum_stages.py").write_text(STAGES, "utf-8")

    def check(chain, name="chain.toml"):
        (tmp_path / "chain.toml").write_text(chain, "utf-8")
        runner = CliRunner(env={"ARROYO_DEBUG": ""})
        return runner.invoke(command, [name])

    return check


def test_a_good_chain_is_summed_up_in_a_line(check):
    result = check(CHAIN)
    assert (result.exit_code, result.stdout) == (
        0,
        "sums: no mistakes found (2 stages, 4 processes)\n",
    )


def test_each_mistake_is_a_line_that_begins_with_its_place(check):
    result = check(CHAIN.replace("replicas", "replcas").replace(":Numbers", ":Nmbers"))
    assert result.exit_code == 78
    first, second = result.stderr.splitlines()
    assert first.startswith("error: chain.toml:6: stages.numbers.listener: ")
    assert second == (
        "error: chain.toml:11: stages.sums.replcas: there is no such key; did you mean 'replicas'?"
    )


def test_a_chain_that_is_not_there_is_a_usage_error(check):
    result = check(CHAIN, "chian.toml")
    assert (result.exit_code, result.stderr) == (64, "error: there is no chain file chian.toml\n")
