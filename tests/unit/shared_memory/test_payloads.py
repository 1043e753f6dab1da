"""Payloads of a replica: what is copied, what is not, and what becomes free."""

import contextlib
import gc
import itertools
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from batches import make_batch
from slab_usage import slabs_in_use

from arroyo import Event, Operator
from arroyo.codec import Shared
from arroyo.config.graph import Chain, Input, Stage
from arroyo.control.locks import owner
from arroyo.identifiers import ReplicaName
from arroyo.messages import SlabReference
from arroyo.shared_memory.files import SHARED_MEMORY, pool_prefix
from arroyo.shared_memory.payloads import PayloadStore
from arroyo.shared_memory.slab_reader import SlabReader

LARGE = 8192  # float64, 64 KiB
WINDOW_BYTES = 1 << 20


@pytest.fixture
def make_store(run_directory):
    stages = {
        "camera": Stage(
            name="camera", role="listener", target="own:Camera", window_bytes=WINDOW_BYTES
        ),
        "mean": Stage(
            name="mean", role="operator", target="own:Mean", inputs=(Input("camera"),), replicas=2
        ),
        "write": Stage(name="write", role="publisher", target="own:W", inputs=(Input("mean"),)),
    }
    lives = itertools.count(1)
    chain = Chain(name="c", folder=Path("/"), path=Path("/c"), stages=stages)
    with contextlib.ExitStack() as closing:

        def make(stage):
            name = ReplicaName(stage, 0)
            made = PayloadStore(
                chain,
                name,
                next(lives),
                run_directory,
                current_sequence=lambda: 0,
                is_alive=lambda other: owner(run_directory.lock(other)) is not None,
            )
            closing.callback(made.close)
            return made

        yield make


@pytest.fixture
def store(make_store):
    return make_store("camera")


@pytest.fixture
def read(run_directory):
    reader = SlabReader(pool_prefix(run_directory.path))

    def read(reference):
        content = bytes(reader.view(reference))
        reader.release()
        return content

    yield read
    reader.close()


def slabs(store):
    return slabs_in_use(store._pool)


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


def test_an_array_that_is_kept_after_it_was_sent_stays_what_it_was(store):
    kept = store.allocate(LARGE, "f8")
    kept[:] = 3
    reference = store.keep(Event.from_array(kept).payload)
    store.give_back([Shared(b"", reference)])
    later = [store.keep(os.urandom(LARGE * 8)) for _ in range(3)]
    assert reference.offset not in [each.offset for each in later]
    assert (kept == 3).all()
    del kept
    assert store.keep(os.urandom(LARGE * 8)).offset == reference.offset


@pytest.mark.timeout(60)
@pytest.mark.parametrize("sent", [False, True])
def test_an_array_may_end_in_the_midst_of_a_call_of_the_store(store, sent):
    """As where the garbage collector comes upon it there, in the same thread."""
    array = store.allocate(LARGE, "f8")
    reference = store.keep(Event.from_array(array).payload) if sent else None
    with store._making, store._pool._lock:
        del array
        gc.collect()
    if sent:
        store.give_back([Shared(b"", reference)])
    assert slabs(store) == 0


def fill(store, source, epoch):
    """Keep what is made of a source's messages until there is no room."""
    store.take_up(make_batch(source=source, epoch=epoch))
    while isinstance(store.keep(os.urandom(LARGE * 8)), SlabReference):
        pass


@pytest.mark.parametrize(
    "needs_room",
    [
        lambda store: isinstance(store.keep(os.urandom(LARGE * 8)), SlabReference),
        lambda store: store._arrays.take(memoryview(store.allocate(LARGE, "f8")), LARGE * 8),
    ],
    ids=["keep", "allocate"],
)
def test_what_was_made_of_messages_that_died_with_their_source_makes_room(make_store, needs_room):
    store = make_store("mean")
    fill(store, "camera.0", epoch=1)
    begun = make_batch(source="camera.0", epoch=2, base=1, ranges=((1, 2),))
    store.take_up(begun)
    assert slabs(store) >= WINDOW_BYTES // (LARGE * 8)
    assert not needs_room(store)  # some sink may still want it
    store.take_up(msgspec.structs.replace(begun, frontier=1))
    assert needs_room(store)
    assert slabs(store) == 1


def test_payloads_that_find_no_room_are_counted_and_told_of_once(store, caplog):
    fill(store, "camera.0", epoch=1)
    assert isinstance(store.keep(bytes(LARGE * 8)), bytes)
    assert store.inline == 2
    (record,) = caplog.records
    assert "no room in shared memory" in record.getMessage()


def test_what_was_made_of_messages_of_a_living_source_makes_none(make_store):
    store = make_store("write")
    for epoch in (1, 2):  # a fold has an epoch for each run
        fill(store, "mean.0", epoch)
    fill(store, "camera.0", epoch=3)
    store.take_up(make_batch(source="camera.1", epoch=4))
    before = slabs(store)
    assert isinstance(store.keep(os.urandom(LARGE * 8)), bytes)
    assert slabs(store) == before


def test_small_arrays_are_plain_memory(store):
    assert store.allocate(10, "u2").shape == (10,)
    assert store._pool is None


def test_nothing_is_left_in_shared_memory(store, run_directory):
    assert store.keep(os.urandom(LARGE * 8)) is not None
    store.close()
    assert not list(SHARED_MEMORY.glob(f"{pool_prefix(run_directory.path)}*"))


def test_outside_a_chain_a_stage_gets_plain_memory():
    class Double(Operator):
        def process(self, message):
            return message

    assert Double().allocate((3, 4), "u2").shape == (3, 4)
