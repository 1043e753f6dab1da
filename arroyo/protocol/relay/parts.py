"""`cut`: a batch that the stage's code is in the midst of, cut where the code has got to. PURE.

What has been worked on goes on by itself, as if it had come alone; the rest of the batch is what
the code has still to work on. Nothing is in both, and nothing in neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arroyo.codec import Batch
from arroyo.protocol.values.batches import describe, positions_of
from arroyo.protocol.values.deliveries import Row, Work


def cut(batch: Batch, done: Sequence[Work]) -> tuple[Batch, Batch]:
    """Return the headers of what was worked on and of the rest of a batch.

    Parameters
    ----------
    done
        The first of what `Relay.plan` gave for the batch. Where the order of the source is
        restored, it may hold messages that came with an earlier batch.

    Returns
    -------
    tuple
        The first header has the batch's tombstones: whoever waits for them need not wait longer.
    """
    if isinstance(done, Row) and len(batch.ranges) == 1 and not batch.fragments:
        [(first, end)] = batch.ranges
        head = {"ranges": ((first, first + len(done)),)}
        rest = {"ranges": ((first + len(done), end),)}
    else:
        positions = [(sequence, fragment) for sequence, fragment, _ in done]
        gone = set(positions)
        head = describe(positions)
        rest = describe([each for each in positions_of(batch) if each not in gone])
    bare = {"detached": (), "slabs": ()}  # these belong to the body as it came
    return (
        msgspec.structs.replace(batch, **head, **bare),
        msgspec.structs.replace(batch, **rest, **bare, tombstones=()),
    )
