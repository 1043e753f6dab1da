from pathlib import Path

import h5py
import numpy as np
import pytest
from detector_files import SHAPE, detector, q_map

from arroyo.errors import ConfigurationError
from arroyo.operators.detector_pixels import read_pixels

__all__ = ["detector"]


def read(path, q="q", mask=None, sigma=None):
    return read_pixels(path, q, mask, sigma)


def test_pixels_have_the_length_of_q_and_its_unit(detector):
    pixels = read(detector)
    np.testing.assert_array_equal(pixels.q, q_map())
    assert (pixels.q_units, pixels.sigma, pixels.usable.all()) == ("1/A", None, True)
    np.testing.assert_allclose(read(detector, "components").q, q_map())


def test_a_masked_pixel_is_not_usable(detector):
    assert 0 < read(detector, mask="mask", sigma="sigma").usable.sum() < np.prod(SHAPE)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Q",), "has no dataset 'Q'; it has components, line, mask, q, sigma, small"),
        (("line",), r"shape \(4,\); expected \(rows, columns\)"),
        (("q", "small"), r"small .* shape \(2, 2\), but the Q map has \(7, 9\)"),
        (("q", None, "small"), r"small .* shape \(2, 2\)"),
    ],
)
def test_datasets_that_do_not_fit_are_named(detector, names, words):
    with pytest.raises(ConfigurationError, match=words):
        read(detector, *names)


@pytest.mark.parametrize(
    "content", [[["a", "b"]], h5py.Empty("f8"), np.ones(SHAPE, complex)], ids=type
)
@pytest.mark.parametrize("names", [("odd",), ("q", "odd"), ("q", None, "odd")])
def test_a_dataset_without_real_numbers_is_named(detector, content, names):
    with h5py.File(detector, "a") as file:
        file["odd"] = content
    with pytest.raises(ConfigurationError, match=r"odd in .* expected real numbers"):
        read(detector, *names)


def test_a_missing_file_and_a_wrong_one_are_told_apart(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere.h5 does not exist \(seen from /"):
        read(tmp_path / "nowhere.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ConfigurationError, match=r"text.h5 is no readable HDF5 file"):
        read(tmp_path / "text.h5")


def test_relative_paths_mean_the_working_directory(detector, monkeypatch):
    monkeypatch.chdir(detector.parent)
    assert read(Path("detector.h5")).q_units == "1/A"
