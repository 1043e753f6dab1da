"""Files as the versions before `arroyo.durable.frames` wrote them, for tests."""

import zlib

import msgspec


def former_frames(*bodies):
    """Make the content of a file of frames as they were: without a head, a checksum of the body."""
    return b"".join(
        len(body).to_bytes(4) + zlib.crc32(body).to_bytes(4) + body
        for body in map(msgspec.msgpack.encode, bodies)
    )
