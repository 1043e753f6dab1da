"""Names and numbers of stages, replicas, runs and epochs.

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
        """Parse ``STAGE.R``; ValueError if it is not of that form."""
        stage, _, number = text.rpartition(".")
        if not NAME_PATTERN.fullmatch(stage) or not number.isdecimal():
            raise ValueError(f"{text!r} is not of the form STAGE.REPLICA")
        return cls(stage, int(number))


def is_name(text: str) -> bool:
    """Return True if `text` can name a chain or a stage (see `NAME_RULE`)."""
    return NAME_PATTERN.fullmatch(text) is not None


def digest(data: bytes) -> str:
    """Return a checksum of `data`, 16 hexadecimal digits, the same in every process.

    Not for secrets: a cryptographic one would take 4 MiB in each stage, for its library.
    """
    return f"{zlib.crc32(data):08x}{zlib.crc32(data[::-1]):08x}"


def new_run() -> str:
    """Return a new name of a run: the UTC time of its start in seconds, and 32 random bits.

    Names sort by start, are safe in file names, and differ between listeners.
    """
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def new_epoch() -> int:
    """Return a new epoch, 62 random bits.

    Sequences are unique only within an epoch. Each life of a volatile source has its own.
    """
    return int.from_bytes(os.urandom(8)) >> 2
