"""`RequeueRoute`: requeued messages that only pass through a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arroyo.codec import Batch, Encoded, Reason
from arroyo.config.graph import Chain
from arroyo.messages import Message
from arroyo.protocol.values.deliveries import Outcome, Output, Work
from arroyo.runner.assembly.topology import key_field
from arroyo.runner.user_code.dispatch_key import key_of


class RequeueRoute:
    """Passes on what is requeued for a stage below, and ends what is for none of them."""

    def __init__(self, chain: Chain, stage: str, encode: Callable[[Message], Encoded]) -> None:
        self._encode = encode
        self._key_field = key_field(chain, stage)
        self._stage = stage
        self._own = {"", stage}
        self._below = {each.name for each in chain.below(stage)}

    def concerns(self, batch: Batch) -> bool:
        """Return True if a requeued batch is not for the code of this stage."""
        if batch.enters == self._stage and batch.returned is not None:
            # It was quarantined as it had come by one of several ways; the others are done.
            return batch.path != batch.returned.path
        return batch.enters not in self._own and not batch.source.startswith(f"{batch.enters}.")

    def outcomes(self, batch: Batch, work: Sequence[Work]) -> list[Outcome]:
        """Return what becomes of the messages of such a batch."""
        if batch.enters not in self._below:
            return [Output(reason=Reason.FINISHED) for _ in work]
        return [self._pass(message) for _, _, message in work]

    def _pass(self, message: Message) -> Outcome:
        encoded = self._encode(message)
        if self._key_field is None:
            return encoded
        return Output((encoded,), len(encoded), None, (key_of(message, self._key_field),))
