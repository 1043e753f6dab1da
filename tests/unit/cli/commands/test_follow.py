"""`arroyo follow`: what it says and refuses; with real servers it is in tests/integration."""

import pytest
from click.testing import CliRunner

from arroyo.cli.commands.follow import HashFollower, command
from arroyo.errors import UnavailableError
from arroyo.supervision.live.running_chain import RunningChain


class Follower:
    """A follower of a hash that the test writes; `ready` counts how often it said so."""

    def __init__(self, chain):
        self.hash = {}
        self.away = False
        self.ready = 0
        self.running = RunningChain(chain)
        self._follower = HashFollower(self.running, self._read, self._say_ready)

    def _read(self):
        if self.away:
            raise UnavailableError("the Redis server can't be reached")
        return self.hash

    def _say_ready(self):
        self.ready += 1

    def look(self, **changes):
        """Look at the hash with these changes; return the parameters of integrate."""
        for name, text in changes.items():
            self.hash[f"integrate.{name}".encode()] = text.encode()
        self._follower.look()
        shown = self.running.ask("parameters", "integrate")["parameters"]
        return {name: each["value"] for name, each in shown.items()}


def test_what_the_hash_says_is_set_and_then_what_changes(played, capsys):
    follower = Follower("chain")
    assert follower.look() == {"level": 5, "mode": "fast"}
    assert follower.look(level="7", mode="slow") == {"level": 7, "mode": "slow"}
    assert follower.look(level="8") == {"level": 8, "mode": "slow"}
    follower.running.set_parameters("integrate", {"level": 9}, pytest.fail)
    assert follower.look()["level"] == 9, "of two orders the last one counts"
    assert capsys.readouterr().out.splitlines() == [
        'integrate: level = 7, mode = "slow"',
        "integrate: level = 8",
    ]
    assert follower.ready == 1


def test_a_bad_value_changes_nothing_and_is_said_once(played, capsys):
    follower = Follower("chain")
    assert follower.look(level="much", mode="slow") == {"level": 5, "mode": "fast"}
    assert follower.look() == {"level": 5, "mode": "fast"}
    said = capsys.readouterr().err
    assert (
        said.count("not set: level: ") == said.count("expected a number, as in the chain file") == 1
    )
    assert follower.look(level="6") == {"level": 6, "mode": "slow"}
    assert follower.ready == 1


def test_a_server_that_is_away_is_waited_for(played, capsys):
    follower = Follower("chain")
    follower.away = True
    follower.look(level="7")
    assert follower.look() == {"level": 5, "mode": "fast"}
    assert capsys.readouterr().err == "waiting: the Redis server can't be reached\n"
    assert follower.ready == 0
    follower.away = False
    assert follower.look()["level"] == 7
    assert follower.ready == 1


def test_another_supervisor_has_all_set_again(played, monkeypatch):
    follower = Follower("chain")
    follower.look(level="7")
    follower.running.set_parameters("integrate", {"level": 5}, pytest.fail)
    monkeypatch.setattr(RunningChain, "supervisor", 1)
    assert follower.look()["level"] == 7


def test_a_chain_that_does_not_run_is_waited_for(chain_file, capsys):
    running = RunningChain(str(chain_file))
    follower = HashFollower(running, lambda: {b"work.level": b"7"}, lambda: pytest.fail("ready"))
    follower.look()
    follower.look()
    assert capsys.readouterr().err.count("does not run; start it with") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["127.0.0.1:6379"], 64, "expected redis://HOST:PORT/DB, tcp://HOST:PORT or ipc://PATH"),
        (["tcp://127.0.0.1"], 78, "write tcp://host:port or ipc://path"),
        (["tcp://127.0.0.1:*", "--key", "mine"], 64, "--key and --password-env are for Redis"),
        (["redis://127.0.0.1:99999"], 78, "url has no valid host and port"),
        (["redis://:secret@127.0.0.1"], 78, "url holds a password"),
        (["redis://127.0.0.1:1"], 75, "can't be reached"),
    ],
)
def test_an_address_that_is_none_is_refused(chain_file, arguments, code, said):
    result = CliRunner().invoke(command, [str(chain_file), *arguments])
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert said in result.output
    assert "secret" not in result.output
