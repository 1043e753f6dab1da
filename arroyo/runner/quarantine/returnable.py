"""Whether a message from quarantine can go back into its chain, and why not."""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.codec import MessageCodec
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message

from .store import Entry


def read_returnable(chain: Chain, codec: MessageCodec, entry: Entry, packed: bytes) -> Message:
    """Return the message of an entry that its chain can take back.

    Raises
    ------
    UsageError
        The chain has no such source or stage any more, or can't decode the message.
    """
    if not entry.type:
        raise UsageError("it could not be read, so it is no message that can be sent again")
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
        (found,) = codec.decode_each(b"\x91" + packed, (), ())
        raise UsageError(
            f"the chain can't decode it: {getattr(found, 'error', 'it is damaged')}"
        ) from None


def _names(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
