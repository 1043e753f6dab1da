"""`singles`: a batch of large payloads as deliveries of one message each.

Whatever the code still holds of a payload has to be kept before anybody hears that its message is
done with, which can only be seen when nothing else holds it any more: between two deliveries. So
where a stage is slow, each message is one.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from arroyo.codec import join, split
from arroyo.protocol.relay.relay import Delivery
from arroyo.protocol.values.batches import count_of, describe, positions_of


def singles(delivery: Delivery) -> Iterator[Delivery]:
    """Yield the messages of a delivery one by one, the tombstones of its batch with the first.

    The number of all but the last is that of the batch before, which is what may be credited
    when they are done.

    Raises
    ------
    ValueError
        The body is no list of as many messages as the header tells of.
    """
    batch, (body, *payloads) = delivery
    pieces = split(body)
    count = count_of(batch)
    if len(pieces) != count or len(payloads) != len(batch.detached):
        raise ValueError(f"{count} messages were announced, {len(pieces)} came")
    beside = dict(zip(batch.detached, payloads, strict=True))
    slabs = dict(batch.slabs)
    for index, (position, piece) in enumerate(zip(positions_of(batch), pieces, strict=True)):
        header = msgspec.structs.replace(
            batch,
            number=batch.number if index == count - 1 else batch.number - 1,
            tombstones=() if index else batch.tombstones,
            detached=(0,) if index in beside else (),
            slabs=((0, slabs[index]),) if index in slabs else (),
            **describe([position]),
        )
        frames = [beside[index]] if index in beside else []
        yield Delivery(header, [join([bytes(piece)])[0], *frames])
