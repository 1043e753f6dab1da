from __future__ import annotations

import pytest

from arroyo.codec import Batch, Kind, Reason, Tombstone, join
from arroyo.messages import SlabReference
from arroyo.protocol.relay.relay import Delivery
from arroyo.protocol.values.batches import positions_of
from arroyo.runner.process.singles import singles

SLAB = SlabReference("pool", 0, 20_000, 1)
STONES = (Tombstone(9, 10, Reason.FILTERED),)
CAME = Batch(
    *("a.0", 1, 7, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0),
    ranges=((0, 3),),
    tombstones=STONES,
    detached=(0,),
    slabs=((2, SLAB),),
)
BODY = join([b"\x01", b"\x02", b"\x03"])[0]


def test_each_message_travels_with_its_own_payload():
    parts = list(singles(Delivery(CAME, [BODY, b"beside"])))
    assert [positions_of(part.batch) for part in parts] == [[(0, ())], [(1, ())], [(2, ())]]
    assert [part.content for part in parts] == [
        [join([b"\x01"])[0], b"beside"],
        [join([b"\x02"])[0]],
        [join([b"\x03"])[0]],
    ]
    assert [part.batch.detached for part in parts] == [(0,), (), ()]
    assert [part.batch.slabs for part in parts] == [(), (), ((0, SLAB),)]
    assert [part.batch.tombstones for part in parts] == [STONES, (), ()]


def test_only_the_last_one_may_have_the_batch_credited():
    parts = singles(Delivery(CAME, [BODY, b"beside"]))
    assert [part.batch.number for part in parts] == [6, 6, 7]


@pytest.mark.parametrize("content", [[join([b"\x01"])[0], b"beside"], [BODY]])
def test_a_body_that_does_not_fit_its_header_is_not_taken_apart(content):
    with pytest.raises(ValueError, match="announced"):
        list(singles(Delivery(CAME, content)))
