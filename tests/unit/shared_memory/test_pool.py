import contextlib
import itertools
import os
import sys
import threading

import numpy as np
import pytest
from slab_usage import slabs_in_use

from arroyo.errors import AlreadyRunningError, UnavailableError
from arroyo.shared_memory import pool as slab_pool
from arroyo.shared_memory.allocator import SlabOwner
from arroyo.shared_memory.pool import SlabPool
from arroyo.shared_memory.slab_reader import SlabReader, StaleSlabError

NAME = "p-images.0-3"
CAPACITY = 1 << 20


@pytest.fixture
def make_pool(tmp_path):
    with contextlib.ExitStack() as pools:

        def make(capacity=CAPACITY, prefault_bytes=0, directory=tmp_path, name=NAME):
            pool = SlabPool(name, capacity, prefault_bytes, directory)
            pools.callback(pool.close)
            return pool

        yield make


@pytest.fixture
def pool(make_pool):
    return make_pool()


@pytest.fixture
def small_memory(small_disk):
    """A directory in memory that has room for 256 KiB."""
    return small_disk(256)


def test_what_is_written_can_be_read(pool, reader):
    payloads = [b"", b"x", os.urandom(1000), os.urandom(300_000)]
    references = [pool.write(payload) for payload in payloads]
    assert [bytes(reader.view(reference)) for reference in references] == payloads


def test_any_contiguous_buffer_is_written_as_its_bytes(pool, reader):
    array = np.arange(12, dtype="<u2").reshape(3, 4)
    assert bytes(reader.view(pool.write(array.data))) == array.tobytes()
    assert bytes(reader.view(pool.write(bytearray(b"abc")))) == b"abc"


def test_a_buffer_with_gaps_is_refused_and_takes_no_slab(pool):
    with pytest.raises(TypeError):
        pool.write(memoryview(b"abcdef")[::2])
    assert slabs_in_use(pool) == 0


def test_a_result_can_be_written_straight_into_a_slab(pool, reader):
    slab = pool.take(8 * 1000)
    assert slab.data.nbytes == 8 * 1000
    np.frombuffer(slab.data, dtype="<f8")[:] = np.arange(1000)
    np.testing.assert_array_equal(
        np.frombuffer(reader.view(slab.reference), dtype="<f8"), np.arange(1000)
    )


def test_writing_into_one_slab_leaves_its_neighbours_alone(pool, reader):
    references = [pool.write(bytes([number]) * 1000) for number in range(20)]
    pool.take(1000).data[:] = b"\xff" * 1000
    assert [set(reader.view(reference)) for reference in references] == [{n} for n in range(20)]


def test_a_slab_is_reused_when_the_frontier_has_passed_its_message(pool, reader):
    old = pool.write(b"old", SlabOwner("images.0", 7, 0))
    kept = pool.write(b"kept", SlabOwner("images.0", 7, 1))
    assert pool.owner_epochs() == [("images.0", 7)]
    assert pool.reclaim("images.0", 7, 1) == [old.offset]
    with pytest.raises(StaleSlabError):
        reader.view(old)
    new = pool.write(b"new")
    assert (new.offset, new.generation > old.generation) == (old.offset, True)
    with pytest.raises(StaleSlabError):
        reader.view(old)
    assert bytes(reader.view(new)) == b"new"
    assert bytes(reader.view(kept)) == b"kept"


def test_a_slab_can_be_assigned_to_its_message_later(pool):
    slab = pool.take(100)
    assert pool.assign(slab.reference, SlabOwner("images.0", 7, 5))
    assert pool.reclaim("images.0", 7, 6) == [slab.reference.offset]
    assert not pool.assign(slab.reference, SlabOwner("images.0", 7, 5))


def test_an_owner_with_numbers_beyond_a_word_does_no_harm(pool, reader):
    reference = pool.write(b"abc", SlabOwner("images.0", 1 << 70, -1))
    assert bytes(reader.view(reference)) == b"abc"


def test_giving_back_twice_does_not_take_the_slab_from_its_next_user(pool, reader):
    first = pool.write(b"first")
    assert pool.give_back(first)
    second = pool.write(b"second")
    assert not pool.give_back(first)
    assert bytes(reader.view(second)) == b"second"


def test_a_slab_is_in_use_until_it_is_given_back(pool):
    reference = pool.write(bytes(100_000))
    assert pool.write(bytes(CAPACITY)) is None
    assert slabs_in_use(pool) == 1
    pool.give_back(reference)
    assert slabs_in_use(pool) == 0


def test_a_file_takes_memory_only_when_it_is_used(make_pool, tmp_path):
    pool = make_pool(capacity=1 << 30, prefault_bytes=100_000)
    file = tmp_path / NAME
    assert file.stat().st_size == 1 << 30
    assert file.stat().st_blocks * 512 < 200_000
    pool.take(1_000_000)
    assert file.stat().st_blocks * 512 >= 1_000_000


def test_a_kernel_that_can_not_populate_gives_memory_as_well(make_pool, tmp_path, monkeypatch):
    unknown_advice = 9999
    monkeypatch.setattr(slab_pool, "_MADV_POPULATE_WRITE", unknown_advice)
    pool = make_pool(prefault_bytes=500_000)
    assert (tmp_path / NAME).stat().st_blocks * 512 >= 500_000
    assert pool.take(600_000) is not None


def test_a_capacity_is_rounded_up_to_whole_pages(make_pool, tmp_path):
    make_pool(capacity=5000, prefault_bytes=1 << 20)
    assert (tmp_path / NAME).stat().st_size == 8192


def test_threads_never_get_the_same_slab(pool):
    def work():
        for _ in range(2500):
            slab = pool.take(1000)
            taken.append(slab.reference.generation)
            pool.give_back(slab.reference)

    taken = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert len(set(taken)) == len(taken) == 10_000
    assert slabs_in_use(pool) == 0


def test_closing_removes_the_file_and_leaves_views_that_are_held_good(make_pool, tmp_path):
    pool = make_pool()
    slab = pool.take(1000)
    array = np.frombuffer(slab.data, dtype="u1")
    pool.close()
    pool.close()
    assert not (tmp_path / NAME).exists()
    array[:] = 3
    assert array.sum() == 3000


def test_closing_unmaps_and_closes_all_files(make_pool, tmp_path):
    before = open_files()
    pool = make_pool()
    pool.write(b"abc")
    pool.close()
    assert open_files() == before
    assert NAME not in maps()


def test_a_pool_that_was_swept_away_closes_as_well(pool, tmp_path):
    (tmp_path / NAME).unlink()
    pool.close()


def test_a_second_pool_of_the_same_life_is_refused(pool, make_pool):
    with pytest.raises(AlreadyRunningError, match="exists already"):
        make_pool()


def test_a_missing_directory_is_named(make_pool, tmp_path):
    with pytest.raises(UnavailableError, match=r"missing/p-images\.0-3 can't be made: No such"):
        make_pool(directory=tmp_path / "missing")


def test_a_pool_that_finds_no_memory_at_first_is_an_error_that_leaves_no_file(
    make_pool, small_memory
):
    before = open_files()
    with pytest.raises(UnavailableError, match="can't have 500000 bytes of memory: No space left"):
        make_pool(prefault_bytes=500_000, directory=small_memory)
    assert list(small_memory.iterdir()) == []
    assert open_files() == before


def test_a_pool_that_is_larger_than_any_file_is_an_error_that_leaves_no_file(make_pool, tmp_path):
    before = open_files()
    with pytest.raises(UnavailableError, match="give the chain smaller pools"):
        make_pool(capacity=1 << 62)
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_full_memory_makes_a_take_fail_and_frees_nothing_that_is_in_use(make_pool, small_memory):
    pool = make_pool(directory=small_memory)
    reader = SlabReader("p-", small_memory)
    payloads = (bytes([number]) * 60_000 for number in itertools.count())
    written = []
    while (reference := pool.write(payload := next(payloads))) is not None:
        written.append((reference, payload))
    assert len(written) == 4
    assert all(bytes(reader.view(reference)) == payload for reference, payload in written)
    reader.release()
    pool.give_back(written[0][0])
    assert pool.write(bytes(60_000)) is not None
    reader.close()


def open_files():
    return sorted(os.readlink(f"/proc/self/fd/{name}") for name in descriptors())


def descriptors():
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]


def maps():
    with open("/proc/self/maps") as file:
        return file.read()
