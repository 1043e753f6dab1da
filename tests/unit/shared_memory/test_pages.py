"""What readers see of a slab whose views are kept: when the last is gone, and what it held."""

import weakref

import numpy as np
import pytest

from arroyo.shared_memory.pages import lent_slabs

SIZES = [16 * 1024, 16 * 1024 + 8, 256 * 1024]


WAYS = [
    lambda view: view,
    lambda view: view[100:200],
    lambda view: view.cast("I"),
    lambda view: np.frombuffer(view, "i4"),
    lambda view: np.frombuffer(view, "i4")[::3].reshape(-1, 1).T,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_loan_lives_as_long_as_any_view_of_it(pool, reader, way):
    view = reader.view(pool.write(bytes(3 * 16 * 1024)))
    loan = weakref.ref(lent_slabs(view))
    kept = way(view)
    del view
    assert loan() is not None
    del kept
    assert loan() is None


@pytest.mark.parametrize("size", SIZES)
def test_what_was_made_private_stays_what_it_was(pool, reader, size):
    before, between, after = (pool.write(b"neighbour" * 4000) for _ in range(3))
    reference = pool.write(b"a" * size)
    pool.give_back(between)
    neighbours = [reader.view(each) for each in (before, after)]
    kept = np.frombuffer(reader.view(reference), np.uint8)
    reader.make_private(lent_slabs(reader.view(reference)))
    reader.release()
    pool.give_back(reference)
    again = pool.write(b"b" * size)
    assert again.offset == reference.offset
    assert bytes(reader.view(again)) == b"b" * size
    assert bytes(kept) == b"a" * size
    assert [bytes(each) for each in neighbours] == [b"neighbour" * 4000] * 2


def test_it_outlives_the_pool_and_its_reader(pool, reader):
    view = reader.view(pool.write(b"a" * 100_000))
    reader.make_private(lent_slabs(view))
    pool.close()
    reader.close()
    assert bytes(view) == b"a" * 100_000


def test_what_is_private_stays_read_only(pool, reader):
    view = reader.view(pool.write(b"a" * 100_000))
    reader.make_private(lent_slabs(view))
    assert view.readonly
    with pytest.raises(ValueError, match="WRITEABLE"):
        np.frombuffer(view, np.uint8).flags.writeable = True


def test_other_payloads_are_no_loans():
    assert lent_slabs(memoryview(b"abc")) is None
    assert lent_slabs(b"abc") is None
