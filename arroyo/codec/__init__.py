"""Messages and records as frames, and back. PURE.

A record is one multipart message: the header frame, and for a batch the body frame and the payloads
that are too large for the body. `records` declares the headers, `MessageCodec` makes and reads
bodies, `Body` and `join` put messages together.
"""

from ._body import (
    HEAD_BYTES,
    Body,
    Detached,
    Encoded,
    Shared,
    join,
    shared_size_of,
    size_of,
    slabs_of,
    split,
)
from ._headers import decode_back, decode_data, encode_record
from ._messages import Keep, MessageCodec
from ._payloads import DETACH_BYTES, PAYLOAD_BYTES_MAX, Buffer
from ._unreadable import Unreadable, in_one_piece
from .records import (
    PROTOCOL_VERSION,
    Ack,
    BackRecord,
    Batch,
    Bye,
    Credit,
    DataRecord,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Refuse,
    Returned,
    Suspect,
    Tombstone,
)

__all__ = [
    "DETACH_BYTES",
    "HEAD_BYTES",
    "PAYLOAD_BYTES_MAX",
    "PROTOCOL_VERSION",
    "Ack",
    "BackRecord",
    "Batch",
    "Body",
    "Buffer",
    "Bye",
    "Credit",
    "DataRecord",
    "Detached",
    "Encoded",
    "End",
    "Hello",
    "Keep",
    "Kind",
    "Lost",
    "MessageCodec",
    "Open",
    "Reason",
    "Refuse",
    "Returned",
    "Shared",
    "Suspect",
    "Tombstone",
    "Unreadable",
    "decode_back",
    "decode_data",
    "encode_record",
    "in_one_piece",
    "join",
    "shared_size_of",
    "size_of",
    "slabs_of",
    "split",
]
