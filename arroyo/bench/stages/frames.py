"""What is done to frames; the same functions in every chain, and outside of all. PURE.

A frame is a flat array of `float32`, as images are once they have been calibrated.
"""

from __future__ import annotations

import functools
import time
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Frame: TypeAlias = NDArray[np.float32]
Curve: TypeAlias = NDArray[np.float64]

MEMORY_BYTES = 128 * 1024**2
MIN_FRAMES, MAX_FRAMES = 3, 256
"""Frames lie in memory, not in a cache: there are so many that one is not sent again soon."""

BINS = 1000
SIDE_PIXELS = 1024
BINNED_PIXELS = SIDE_PIXELS**2
"""Pixels that are binned in one go."""
CALIBRATION_CALLS = 9


def frames_in_memory(payload_bytes: int) -> list[Frame]:
    """Return frames that differ, all of them written to."""
    count = min(MAX_FRAMES, max(MIN_FRAMES, MEMORY_BYTES // payload_bytes))
    return [np.full(payload_bytes // 4, index, np.float32) for index in range(count)]


def frame_of(payload: Any) -> Frame:
    """Return the frame in a buffer, without a copy."""
    return np.frombuffer(payload, np.float32)


def read(frame: Frame) -> float:
    """Read every byte, as fast as numpy can: the brightest pixel."""
    return float(frame.max())


def transform(frame: Frame) -> Frame:
    """Return a new frame, as users write it: a temporary array on the way, and one for the result.

    The values stay finite however often a frame goes through.
    """
    return frame * 0.5 + 1.0


def integrate(frame: Frame, pixels: int) -> Curve:
    """Return a curve of a frame, as by azimuthal integration with a table of bins.

    The frame is gone through from its beginning again until so many pixels are binned.
    """
    sums = np.zeros(BINS)
    for begin in range(0, pixels, BINNED_PIXELS):
        first = begin % len(frame)
        part = frame[first : first + min(BINNED_PIXELS, pixels - begin)]
        sums += np.bincount(_bins()[: len(part)], part, BINS)
    return sums


@functools.cache
def _bins() -> NDArray[np.intp]:
    """Return the bin of each pixel: neighbours are in neighbouring ones, as on a detector."""
    rows, columns = np.ogrid[0:SIDE_PIXELS, 0:SIDE_PIXELS]
    radii = np.hypot(rows, columns).ravel()
    return (radii * (BINS / (1.5 * SIDE_PIXELS))).astype(np.intp)


def pixels_for(duration_s: float) -> int:
    """Return how many pixels `integrate` bins in so much time on this machine."""
    frame = np.ones(BINNED_PIXELS, np.float32)
    took_s = []
    for _ in range(CALIBRATION_CALLS):
        begin = time.perf_counter()
        integrate(frame, BINNED_PIXELS)
        took_s.append(time.perf_counter() - begin)
    return int(BINNED_PIXELS * duration_s / sorted(took_s)[CALIBRATION_CALLS // 2])
