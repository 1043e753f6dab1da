"""`read_returnable`: reads a message from quarantine that its chain can take back."""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.codec import MessageCodec, Unreadable
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message

from .store import QuarantineEntry


def read_returnable(
    chain: Chain, codec: MessageCodec, entry: QuarantineEntry, packed: bytes
) -> Message:
    """Return the message of an entry that its chain can take back.

    UsageError: the chain has no such source or stage any more, or can't decode the message.
    """
    require_message(entry)
    if entry.sequence < 0:
        raise UsageError("it is the Start or Stop of a run, which can't be sent again")
    source = ReplicaName.parse(entry.source)
    if source not in chain.replicas:
        raise UsageError(
            f"its source {source} is not in the chain any more, which has "
            f"{_names(chain.replicas)}; give the stage its name back, or drop the message"
        )
    places = [source.stage, *(stage.name for stage in chain.below(source.stage))]
    if entry.enters not in places:
        raise UsageError(
            f"it goes into stage {entry.enters}, but below {source.stage} the chain has "
            f"{_names(places[1:])}; give the stage its name back, or drop the message"
        )
    try:
        return codec.unpack(packed)
    except DecodeError:
        raise UsageError(f"the chain can't decode it: {_fault_of(codec, packed)}") from None


def require_message(entry: QuarantineEntry) -> None:
    """Raise `UsageError` where an entry holds no message, but frames that could not be read."""
    if not entry.type:
        raise UsageError("it could not be read, so it is no message that can be sent again")


def _fault_of(codec: MessageCodec, packed: bytes) -> str:
    try:
        (found,) = codec.decode_each(b"\x91" + packed, (), ())
    except DecodeError:
        return "it is damaged"
    return str(found.error) if isinstance(found, Unreadable) else "it is damaged"


def _names(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
