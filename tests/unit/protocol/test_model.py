"""Random schedules of whole chains: nothing is lost, nothing invented, and all come to an end.

A failing schedule is named by its chain and seed and replays exactly. ``ARROYO_MODEL_SCHEDULES``
says how many are run in all.
"""

from __future__ import annotations

import os
import random

import pytest
from unit.protocol import promises
from unit.protocol.model import BrokenPromiseError, Faults, World, telling
from unit.protocol.topologies import OVERLAPPING, SCRIPTS, TOPOLOGIES

SCHEDULES = int(os.environ.get("ARROYO_MODEL_SCHEDULES", "5000"))
EACH = max(1, SCHEDULES // (2 * len(TOPOLOGIES)))

pytestmark = pytest.mark.usefixtures("small_batches")


def replay(topology: str, seed: int, faults: Faults) -> World:
    rng = random.Random(f"{topology} {seed}")
    world = World(TOPOLOGIES[topology], rng.choice(SCRIPTS), seed, faults)
    with telling(world, f"replay({topology!r}, {seed}, {faults})"):
        world.run()
        promises.check(world, last_resorts=bool(faults.gaps))
    return world


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_no_death_breaks_a_promise(topology):
    for seed in range(EACH):
        replay(topology, seed, Faults(kills=seed % 5, leaves=seed % 7 == 6))


def test_a_fold_that_leaves_before_a_source_has_heard_of_it_breaks_no_promise():
    """What it held was told to the source, its Hello was not: nobody but the next life tells."""
    replay("folds in a row", 132, Faults(kills=2, leaves=True))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_broken_links_and_repeated_records_break_no_promise(topology):
    for seed in range(EACH):
        replay(topology, seed, Faults(kills=seed % 3, gaps=seed % 4, repeats=seed % 6))


@pytest.mark.parametrize("script", ["9", "9S9T9", "12S31T2"])
def test_runs_that_overlap_reach_the_totals_of_the_last_of_folds_in_a_row(script):
    for seed in range(100):
        world = World(OVERLAPPING, script, seed, Faults())
        with telling(world, f"{script} {seed}"):
            world.run()
            promises.check(world)


def test_a_broken_promise_is_told_with_what_each_replica_did_last():
    world = World(TOPOLOGIES["linear"], "S31T", 1, Faults(kills=1))
    with pytest.raises(BrokenPromiseError) as failed, telling(world, "this schedule"):
        world.run()
        raise BrokenPromiseError("as it happens")
    schedule, *told = failed.value.__notes__
    assert schedule == "this schedule"
    assert told[::2] == [f"--- {name}" for name in world.nodes]
    source, *_ = told[1::2]
    assert "opened run run1, implicit: False" in source
    assert "closed run run1, complete: True" in source
