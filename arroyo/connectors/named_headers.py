"""`write_named`: keys and outward headers of a list of messages, for brokers. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from arroyo.errors import EncodeError
from arroyo.messages import Event, Message, plain_sequences

from .wire_format import UNWRITABLE, encode_json, write_header


def write_named(messages: Sequence[Message]) -> list[tuple[str, bytes]]:
    """Return key and header of each message; the key is empty outside of a chain.

    What plain Events of a batch have in common is encoded once, which saves two thirds of the time.

    EncodeError: a message holds a value that JSON can't express.
    """
    sequences = plain_sequences(messages)
    events = [each for each in messages if type(each) is Event and not each.dtype]
    if sequences is None or len(events) < len(messages):
        return [("" if each.origin is None else each.key, write_header(each)) for each in messages]
    first, number = events[0], sequences[0]
    name, header = first.key.removesuffix(str(number)), write_header(first)
    begin = header.removesuffix(b'%d,"metadata":%b}' % (number, encode_json(first.metadata)))
    try:
        return [
            (f"{name}{number}", b'%b%d,"metadata":%b}' % (begin, number, encode_json(metadata)))
            for number, metadata in zip(sequences, [each.metadata for each in events], strict=True)
        ]
    except UNWRITABLE as error:
        raise EncodeError(f"this Event can't be written as JSON: {error}") from error
