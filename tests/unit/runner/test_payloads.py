"""Payloads of a replica: what is copied, what is not, and what becomes free."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from arroyo import Event, Operator
from arroyo.codec import Shared
from arroyo.config.graph import Chain, Stage
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName, new_incarnation
from arroyo.links.slab_files import SHARED_MEMORY, pool_prefix
from arroyo.links.slab_reader import SlabReader
from arroyo.runner.payloads import PayloadStore

LARGE = 8192  # float64, 64 KiB


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


@pytest.fixture
def store(directory):
    stages = {"camera": Stage(name="camera", role="listener", target="own:Camera")}
    chain = Chain(name="c", folder=Path("/"), path=Path("/c"), stages=stages)
    made = PayloadStore(chain, ReplicaName("camera", 0), new_incarnation(), directory, lambda: 0)
    yield made
    made.close()


@pytest.fixture
def read(directory):
    reader = SlabReader(pool_prefix(directory.path))
    yield lambda reference: bytes(reader.view(reference))
    reader.close()


def slabs(store):
    return store._pool.statistics().slabs


def test_an_allocated_array_is_sent_where_it_lies(store, read):
    array = store.allocate((2, LARGE // 2), "f8")
    array[:] = np.arange(LARGE).reshape(2, -1)
    before = slabs(store)
    reference = store.keep(Event.from_array(array).payload)
    assert slabs(store) == before == 1
    assert read(reference) == array.tobytes()


def test_a_part_of_an_allocated_array_is_copied(store, read):
    array = store.allocate(2 * LARGE, "f8")
    array[:] = 7
    reference = store.keep(Event.from_array(array[:LARGE]).payload)
    assert slabs(store) == 2
    assert read(reference) == array[:LARGE].tobytes()


def test_an_array_that_is_never_sent_becomes_free(store):
    array = store.allocate(LARGE, "f8")
    assert slabs(store) == 1
    del array
    gc.collect()
    assert slabs(store) == 0


def test_an_array_that_was_sent_stays_until_its_message_is_finished(store, read):
    array = store.allocate(LARGE, "f8")
    array[:] = 3
    reference = store.keep(Event.from_array(array).payload)
    expected = array.tobytes()
    del array
    gc.collect()
    assert read(reference) == expected
    store.give_back([Shared(b"", reference)])
    assert slabs(store) == 0


def test_small_arrays_are_plain_memory(store):
    assert store.allocate(10, "u2").shape == (10,)
    assert store._pool is None


def test_nothing_is_left_in_shared_memory(store, directory):
    assert store.keep(os.urandom(LARGE * 8)) is not None
    store.close()
    assert not list(SHARED_MEMORY.glob(f"{pool_prefix(directory.path)}*"))


def test_outside_a_chain_a_stage_gets_plain_memory():
    class Double(Operator):
        def process(self, message):
            return message

    assert Double().allocate((3, 4), "u2").shape == (3, 4)
