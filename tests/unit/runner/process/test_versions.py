import msgspec
import pytest
from stage_fakes import line_of

from arroyo.control.locks import Lock
from arroyo.runner.process.versions import others_wired_differently, wiring_of


def chain_of(folder, name="work", **keys):
    return line_of(
        folder,
        ("listener", "src", "own:Src", {}),
        ("operator", name, "own:Work", keys),
        ("publisher", "sink", "own:Sink", {}),
    )


@pytest.fixture
def hold(run_directory):
    """Take the lock of a replica, which runs with a chain."""
    locks = []

    def take(name, chain=None):
        locks.append(Lock.acquire(run_directory.lock(name)))
        if chain is not None:
            locks[-1].note(wiring_of(chain))
        return locks[-1]

    yield take
    for lock in locks:
        lock.release()


@pytest.mark.parametrize(
    "keys", [{"name": "renamed"}, {"replicas": 2}, {"dispatch_key": "id"}, {"listen": "tcp://*:5"}]
)
def test_what_neighbours_have_to_know_is_part_of_the_wiring(tmp_path, keys):
    assert wiring_of(chain_of(tmp_path, **keys)) != wiring_of(chain_of(tmp_path))


def test_what_concerns_one_stage_or_only_the_order_of_the_file_is_not(tmp_path):
    chain = chain_of(tmp_path)
    assert wiring_of(chain_of(tmp_path, options={"points": 7}, nice=3)) == wiring_of(chain)
    turned = msgspec.structs.replace(chain, stages=dict(reversed(chain.stages.items())))
    assert wiring_of(turned) == wiring_of(chain)


def test_stages_that_run_with_another_wiring_are_named(hold, run_directory, tmp_path):
    chain = chain_of(tmp_path)
    own = hold("sink.0", chain)
    hold("src.0", chain_of(tmp_path, "renamed"))
    hold("work.0", chain)
    assert others_wired_differently(run_directory, chain, own.path) == ["src.0"]


def test_who_has_ended_has_noted_nothing_or_supervises_is_not_named(hold, run_directory, tmp_path):
    chain, other = chain_of(tmp_path), chain_of(tmp_path, "renamed")
    own = hold("sink.0", other)
    hold("src.0", other).release()
    hold("work.0")
    hold("supervisor", other)
    assert others_wired_differently(run_directory, chain, own.path) == []
