"""A detector of few pixels, and its HDF5 file."""

import h5py
import numpy as np
import pytest

SHAPE = (7, 9)


def q_map(shape=SHAPE):
    rows, columns = np.indices(shape)
    return np.hypot(rows - 2.3, columns - 4.1) / 10


@pytest.fixture
def detector(tmp_path):
    """An HDF5 file with what the operator reads."""
    path = tmp_path / "detector.h5"
    random = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        file["q"] = q_map()
        file["q"].attrs["units"] = "1/A"
        file["components"] = np.stack((q_map() * 0.6, q_map() * 0.8, np.zeros(SHAPE)))
        file["mask"] = random.random(SHAPE) < 0.2
        file["sigma"] = random.random(SHAPE)
        file["small"] = np.zeros((2, 2))
        file["line"] = np.zeros(4)
    return path
