"""Names and numbers by which things are told apart: stages, replicas, runs, epochs.

A replica is written ``STAGE.R`` everywhere: in logs, file names, socket addresses, origins.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from typing import NamedTuple

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
NAME_RULE = "a name starts with a lower-case letter; letters, digits, - and _ follow; 63 at most"


class ReplicaName(NamedTuple):
    """One replica of a stage; `str()` gives ``STAGE.R``."""

    stage: str
    replica: int

    def __str__(self) -> str:
        return f"{self.stage}.{self.replica}"

    @classmethod
    def parse(cls, text: str) -> ReplicaName:
        """Read ``STAGE.R`` back; ValueError where it is not of that form."""
        stage, _, number = text.rpartition(".")
        if not NAME_PATTERN.fullmatch(stage) or not number.isdecimal():
            raise ValueError(f"{text!r} is not of the form STAGE.REPLICA")
        return cls(stage, int(number))


def is_name(text: str) -> bool:
    """Whether `text` can name a chain or a stage (see `NAME_RULE`)."""
    return NAME_PATTERN.fullmatch(text) is not None


def digest(data: bytes) -> str:
    """Shorten `data` to 16 hexadecimal digits that are the same on every call.

    Not for secrets. A cryptographic one would cost each stage 4 MiB for its library.
    """
    return f"{zlib.crc32(data):08x}{zlib.crc32(data[::-1]):08x}"


def new_run() -> str:
    """Make a run's name: UTC time of its start to the second, and 32 random bits.

    Names sort by start, are safe in file names, and do not collide over listeners.
    """
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def new_epoch() -> int:
    """Make the number of one life of a source, 62 random bits.

    Sequences are unique within an epoch only: a source that can't replay its input starts anew.
    """
    return int.from_bytes(os.urandom(8)) >> 2
