"""Images in the layout of the measured one, for tests of the services that reduce it."""

import h5py
import numpy as np
from saxs_detector import GROUP

SENTINEL = 1e9
"""Idev of masked pixels in the measured image."""


def write_image(path):
    """Write one with a mask, a beam stop and empty pixels; return the path."""
    random = np.random.default_rng(11)
    rows, columns = np.indices((90, 110))
    q = np.stack((rows - 40.2, columns - 51.3, np.zeros(rows.shape))) / 400
    counts = random.poisson(3 + 0.5 / np.square(q).sum(axis=0).clip(1e-3))
    counts[random.random(counts.shape) < 0.1] = 0
    masked = (random.random(counts.shape) < 0.05) | (np.abs(q).max(axis=0) < 0.01)
    with h5py.File(path, "w") as file:
        group = file.create_group(GROUP)
        group.parent["title"] = "made for a test"
        group["I"] = np.where(masked, -5e4, counts * 350.0 - 35)
        group["I"].attrs["units"] = "1/m"
        group["Idev"] = np.where(masked, SENTINEL, np.sqrt(counts) * 350)
        group["Imask"] = masked
        group["Q"] = q
        group["Q"].attrs["units"] = "1/A"
    return path
