"""Random schedules in which sources die as well: with a replayable input the promises are the same.

See `test_model` for how a failing schedule is named and replayed.
"""

from __future__ import annotations

import random

import pytest
from unit.protocol import promises
from unit.protocol.model import Faults, telling
from unit.protocol.replaying import ReplayingWorld
from unit.protocol.test_model import EACH
from unit.protocol.topologies import SCRIPTS, TOPOLOGIES

pytestmark = pytest.mark.usefixtures("small_batches")


def replay(topology: str, seed: int, faults: Faults, source_kills: int) -> None:
    rng = random.Random(f"{topology} {seed}")
    script = rng.choice(SCRIPTS)
    world = ReplayingWorld(TOPOLOGIES[topology], script, seed, faults, source_kills=source_kills)
    with telling(world, f"replay({topology!r}, {seed}, {faults}, {source_kills}): {script}"):
        world.run()
        promises.check(world, last_resorts=bool(faults.gaps))


def test_what_ended_while_it_waited_to_leave_again_is_counted_by_the_next_life():
    replay("ordered diamond", 478, Faults(kills=2, repeats=1), 4)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_no_death_of_a_source_breaks_a_promise(topology):
    for seed in range(EACH):
        replay(topology, seed, Faults(kills=seed % 4, repeats=seed % 3), 1 + seed % 5)
