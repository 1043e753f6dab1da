import contextlib
import gc

import numpy as np
import pytest
from slab_usage import slabs_in_use

from arroyo.shared_memory.allocated_arrays import AllocatedArrays
from arroyo.shared_memory.pool import SlabPool

BYTES = 65_536


@pytest.fixture
def pool(tmp_path):
    with contextlib.closing(SlabPool("p-images.0-3", 1 << 20, 0, tmp_path)) as pool:
        yield pool


@pytest.fixture
def arrays():
    return AllocatedArrays()


def make(arrays, pool):
    """Return an array and the reference of its slab."""
    slab = pool.take(BYTES, pinned=True)
    return arrays.make(pool, slab, (2, BYTES // 16), "f8"), slab.reference


def in_use(pool):
    gc.collect()
    return slabs_in_use(pool)


def test_an_array_is_sent_once_as_the_slab_that_it_fills(arrays, pool):
    array, reference = make(arrays, pool)
    assert (array.shape, array.dtype) == ((2, BYTES // 16), np.float64)
    assert arrays.take(memoryview(array), BYTES) == reference
    assert arrays.take(memoryview(array), BYTES) is None


@pytest.mark.parametrize(
    "view", [lambda array: array.reshape(-1), lambda array: array.view("u1")], ids=["shape", "type"]
)
def test_another_view_of_the_whole_array_is_the_slab_as_well(arrays, pool, view):
    array, reference = make(arrays, pool)
    assert arrays.take(memoryview(view(array)), BYTES) == reference


def test_a_part_of_an_array_and_other_memory_are_no_slab(arrays, pool):
    array, _ = make(arrays, pool)
    assert arrays.take(memoryview(array[0]), BYTES // 2) is None
    assert arrays.take(memoryview(bytes(BYTES)), BYTES) is None
    assert arrays.take(bytes(BYTES), BYTES) is None


def test_an_array_that_dies_unsent_frees_its_slab(arrays, pool):
    array, _ = make(arrays, pool)
    assert in_use(pool) == 1
    del array
    assert in_use(pool) == 0


def test_a_sent_array_that_dies_leaves_its_slab_to_the_ledger(arrays, pool):
    array, reference = make(arrays, pool)
    arrays.take(memoryview(array), BYTES)
    del array
    assert in_use(pool) == 1
    assert pool.give_back(reference)
    assert in_use(pool) == 0
