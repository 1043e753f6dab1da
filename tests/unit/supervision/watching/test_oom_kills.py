import os

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


def test_the_groups_of_this_process_can_be_read():
    kills = OomKills()
    kills.watch(os.getpid())
    assert not kills.claim(os.getpid())
