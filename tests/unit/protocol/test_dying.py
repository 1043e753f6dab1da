"""Random schedules in which sources die whose inputs can't be read again.

See `test_model` for how a failing schedule is named and replayed.
"""

from __future__ import annotations

import random

import pytest
from unit.protocol import dying
from unit.protocol.model import Faults, telling
from unit.protocol.test_model import EACH
from unit.protocol.topologies import SCRIPTS, TOPOLOGIES

pytestmark = pytest.mark.usefixtures("small_batches")

# By pub-sub anything may be missed.
RELIABLE = [name for name in TOPOLOGIES if "pub-sub" not in name]


def replay(topology: str, seed: int, faults: Faults, source_kills: int) -> None:
    rng = random.Random(f"{topology} {seed}")
    script = rng.choice(SCRIPTS)
    world = dying.DyingWorld(TOPOLOGIES[topology], script, seed, faults, source_kills=source_kills)
    with telling(world, f"replay({topology!r}, {seed}, {faults}, {source_kills}): {script}"):
        world.run()
        dying.check(world)


@pytest.mark.parametrize("topology", RELIABLE)
def test_every_run_of_a_source_that_died_is_closed_once_for_everybody(topology):
    for seed in range(EACH):
        replay(topology, seed, Faults(kills=seed % 4, repeats=seed % 3), 1 + seed % 3)
