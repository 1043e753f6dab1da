"""`ReturnedRun`: the run of a message that is brought back from quarantine when it is over."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arroyo.codec import Batch, Encoded, MessageCodec, Returned
from arroyo.errors import DecodeError
from arroyo.messages import Message, Origin, Start, Stop
from arroyo.protocol.values.deliveries import Output


class ReturnedRun:
    """Has the stage's code hear the Start of such a run before the message, and its Stop after it.

    Both travel with the message, so nothing has to be remembered between the stages, and what
    the code makes of them goes on. No other run of the source is open meanwhile.

    `control`: has the stage's code process a Start or Stop, and returns what goes on.
    """

    def __init__(
        self, codec: MessageCodec, control: Callable[[Message], Encoded | Output | None]
    ) -> None:
        self._codec = codec
        self._control = control

    def begin(self, batch: Batch) -> Batch:
        """Process the Start, if the batch brings one; return the batch that goes on."""
        returned = batch.returned
        if returned is None or not returned.start:
            return batch
        start = self._work_on(batch, returned, returned.start, Start())
        return msgspec.structs.replace(batch, returned=returned._replace(start=start))

    def end(self, batch: Batch) -> Batch:
        """Process the Stop that belongs to it."""
        returned = batch.returned
        if returned is None or not returned.start:
            return batch
        stop = self._work_on(batch, returned, returned.stop, Stop())
        return msgspec.structs.replace(batch, returned=returned._replace(stop=stop))

    def _work_on(self, batch: Batch, returned: Returned, packed: bytes, stand_in: Message) -> bytes:
        try:
            message = self._codec.unpack(packed) if packed else stand_in
        except DecodeError:
            message = stand_in  # as for one that can't be read on its way
        if not isinstance(message, type(stand_in)):
            message = stand_in
        message._origin = Origin(returned.run, batch.source, returned.epoch, -1, batch.path)
        goes_on = self._control(message)
        return goes_on if isinstance(goes_on, bytes) else packed
