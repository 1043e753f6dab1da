"""What is joined on its way back, and what is not."""

from __future__ import annotations

import msgspec

from arroyo.codec import Ack, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receipts import Receipts

SOURCE = ReplicaName("s", 0)
ACK = Ack("b", 0, "s.0", 1, 0)


def joined(*acks):
    receipts = Receipts()
    for ack in acks:
        receipts.put(SOURCE, msgspec.structs.replace(ACK, **ack), 0.0)
    return [reply.record for reply in receipts.take()]


def test_acknowledgements_of_one_path_leave_as_one():
    stone = Tombstone(2, 3, Reason.FILTERED)
    (ack,) = joined({"ranges": ((0, 1),)}, {"ranges": ((1, 2),), "tombstones": (stone,)})
    assert (ack.ranges, ack.tombstones) == (((0, 2),), (stone,))


def test_what_is_held_is_never_told_with_what_is_finished():
    held = {"ranges": ((0, 4),), "taken": 7}
    finished = {"ranges": ((0, 2),)}
    assert [(ack.taken, ack.ranges) for ack in joined(held, finished)] == [
        (7, ((0, 4),)),
        (0, ((0, 2),)),
    ]
