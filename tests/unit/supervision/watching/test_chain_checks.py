import contextlib
import os
import selectors
import time

import pytest

from arroyo.config.run_directory import RunDirectory
from arroyo.supervision.watching.chain_checks import ChainChecks

CHAIN = """
[chain]
name = "c"
[stages.a]
listener = "own:A"
options = { every_s = 1 }
"""
OWN = """
import arroyo
class A(arroyo.Listener):
    def __init__(self, operator, every_s): ...
    def start(self): ...
    def stop(self): ...
"""


class Checking:
    """A loop that does nothing but checks of one chain file."""

    def __init__(self, folder, selector):
        self.path = folder / "chain.toml"
        self.path.write_text(CHAIN)
        (folder / "own.py").write_text(OWN)
        self.selector = selector
        self.late_s = 0.0
        self.run_directory = RunDirectory(folder / "run")
        self.run_directory.create()
        environ = {**os.environ, "ARROYO_RUN_DIR": str(folder / "runs")}
        self.checks = ChainChecks(self.path, self.run_directory, selector, self.monotonic, environ)
        self.found = []

    def monotonic(self):
        return time.monotonic() + self.late_s

    def check(self, meanwhile=lambda: None):
        self.checks.begin(self.found.append)
        meanwhile()
        while self.checks.is_busy:
            for key, _ in self.selector.select(10.0):
                key.data()
        return self.found[-1]


@pytest.fixture
def checking(tmp_path):
    with selectors.DefaultSelector() as selector:
        made = Checking(tmp_path, selector)
        with contextlib.closing(made.checks):
            yield made


def test_a_good_file_is_handed_over_as_it_was_whatever_becomes_of_it(checking):
    found = checking.check(meanwhile=lambda: checking.path.write_text("half of it ["))
    assert found.mistakes == ()
    assert found.chain.stages["a"].options == {"every_s": 1}
    assert found.chain.path == checking.path
    assert checking.run_directory.version(found.chain.text).read_text() == CHAIN


def test_every_mistake_is_found_also_those_in_classes(checking):
    checking.path.write_text(CHAIN.replace("every_s", "evry_s") + "nicer = 1\n")
    found = checking.check()
    assert found.chain is None
    assert any("evry_s" in mistake for mistake in found.mistakes)
    assert any("nicer" in mistake for mistake in found.mistakes)
    assert all(mistake.startswith(f"{checking.path}:") for mistake in found.mistakes)


def test_a_file_that_is_gone_is_a_mistake(checking):
    checking.path.unlink()
    assert "can't be read" in checking.check().mistakes[0]


def test_a_module_that_never_comes_back_is_given_up(checking):
    (checking.path.parent / "own.py").write_text("while True: pass")
    checking.checks.begin(checking.found.append)
    assert checking.checks.pids
    checking.late_s = 1000.0
    assert checking.checks.next_at < checking.monotonic()
    checking.checks.expire()
    assert "took longer than" in checking.found[0].mistakes[0]
    assert not checking.checks.pids
