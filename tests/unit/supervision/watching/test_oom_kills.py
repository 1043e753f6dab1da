import os
from functools import partial
from pathlib import Path

import pytest

from arroyo.supervision.watching.oom_kills import OomKills, counters_of


@pytest.fixture
def counter(tmp_path):
    """The file in which the group of each process counts, made by hand."""
    file = tmp_path / "memory.events"

    def write(count):
        file.write_text(f"low 0\noom 3\noom_kill {count}\n")

    write.kills = OomKills(lambda _: [tmp_path / "missing", file])
    write(2)
    return write


def test_each_kill_that_is_counted_belongs_to_one_process(counter):
    counter.kills.watch(7)
    counter.kills.watch(8)
    assert not counter.kills.claim(7)
    counter(3)
    assert counter.kills.claim(7)
    assert not counter.kills.claim(8)


def test_a_process_that_nobody_watched_was_not_killed_for_memory(counter):
    counter(3)
    assert not counter.kills.claim(7)


def test_a_forgotten_process_claims_nothing(counter):
    counter.kills.watch(7)
    counter.kills.forget(7)
    counter(3)
    assert not counter.kills.claim(7)


def test_a_group_of_version_2_is_found_and_counted(tmp_path):
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = [line.partition("::/")[2] for line in lines if line.startswith("0::/")]
    if not groups:
        pytest.skip("run where control groups of version 2 are mounted")
    events = tmp_path / groups[0] / "memory.events"
    events.parent.mkdir(parents=True, exist_ok=True)
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n")
    kills = OomKills(partial(counters_of, mount=tmp_path))
    kills.watch(os.getpid())
    assert not kills.claim(os.getpid())
    events.write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert kills.claim(os.getpid())


def test_the_groups_of_this_process_can_be_read():
    kills = OomKills()
    kills.watch(os.getpid())
    assert not kills.claim(os.getpid())
