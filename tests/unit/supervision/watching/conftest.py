import pytest

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Stage
from arroyo.supervision.watching import orphans
from arroyo.supervision.watching.processes import Spawner

STAGE = """
import json, os, random, select, signal, sys

def tell(chain, name, run, state, lifeline):
    import numpy as np

    found = {
        "words": [chain, name, run, state],
        "environ": dict(os.environ),
        "random": [random.random(), np.random.random()],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "supervisor lives": not select.select([lifeline], [], [], 0)[0],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "dot": float(np.ones(300_000).reshape(300, 1000) @ np.ones(1000) @ np.ones(300)),
    }
    with open(os.path.join(run, "told-" + name), "w") as file:
        json.dump(found, file)
    sys.exit(3)

def wait(chain, name, run, state, lifeline):
    select.select([lifeline], [], [])

def abort(chain, name, run, state, lifeline):
    os.abort()

def fail(chain, name, run, state, lifeline):
    raise ValueError("no")
"""


@pytest.fixture
def _adopting():
    """This process adopts orphans, as a supervisor does."""
    orphans.adopt_orphans()
    yield
    orphans.adopt_orphans(adopt=False)


@pytest.fixture
def make(tmp_path, monkeypatch, _adopting):
    """A spawner of which stages are one of the functions above."""
    (tmp_path / "forked_for_a_test.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    folders = Folders.at(str(tmp_path), str(tmp_path / "state"))
    made = []

    def start(function, chain_env=(), **keys):
        import forked_for_a_test

        stages = {"work": Stage("work", "operator", "own:Work", replicas=9, **keys)}
        chain = Chain("c", tmp_path, tmp_path / "c.toml", stages, env=dict(chain_env))
        environ = {"PYTHONPATH": str(tmp_path)}
        made.append(Spawner(chain, folders, environ, getattr(forked_for_a_test, function)))
        return made[-1]

    yield start
    for spawner in made:
        spawner.close()
