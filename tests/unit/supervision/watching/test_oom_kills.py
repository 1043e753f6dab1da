import os
from pathlib import Path

import pytest

from arroyo.supervision.watching import oom_kills as memory
from arroyo.supervision.watching.oom_kills import OomKills


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """The file in which this process's group counts, made by hand."""
    file = tmp_path / "memory.events"
    monkeypatch.setattr(memory, "_counters", lambda _: iter([tmp_path / "missing", file]))

    def write(count):
        file.write_text(f"low 0\noom 3\noom_kill {count}\n")

    write(2)
    return write


def test_each_kill_that_is_counted_belongs_to_one_process(counter):
    kills = OomKills()
    kills.watch(7)
    kills.watch(8)
    assert not kills.claim(7)
    counter(3)
    assert kills.claim(7)
    assert not kills.claim(8)


def test_a_process_that_nobody_watched_was_not_killed_for_memory(counter):
    kills = OomKills()
    counter(3)
    assert not kills.claim(7)


def test_a_forgotten_process_claims_nothing(counter):
    kills = OomKills()
    kills.watch(7)
    kills.forget(7)
    counter(3)
    assert not kills.claim(7)


def test_a_group_of_version_2_is_found_and_counted(tmp_path, monkeypatch):
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = [line.partition("::/")[2] for line in lines if line.startswith("0::/")]
    if not groups:
        pytest.skip("run where control groups of version 2 are mounted")
    events = tmp_path / groups[0] / "memory.events"
    events.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(memory, "_MOUNT", tmp_path)
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n")
    kills = OomKills()
    kills.watch(os.getpid())
    assert not kills.claim(os.getpid())
    events.write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert kills.claim(os.getpid())


def test_the_groups_of_this_process_can_be_read():
    kills = OomKills()
    kills.watch(os.getpid())
    assert not kills.claim(os.getpid())
