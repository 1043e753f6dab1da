"""A pool of 1 MiB in a folder of the test's own, and who reads it."""

import pytest

from arroyo.shared_memory.pool import SlabPool
from arroyo.shared_memory.slab_reader import SlabReader


@pytest.fixture
def pool(tmp_path):
    pool = SlabPool("p-images.0-3", 1 << 20, 0, tmp_path)
    yield pool
    pool.close()


@pytest.fixture
def reader(tmp_path):
    reader = SlabReader("p-", tmp_path)
    yield reader
    reader.close()
