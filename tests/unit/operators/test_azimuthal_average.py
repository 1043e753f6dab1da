"""Averages against straightforward loops, and what must hold for any image."""

import itertools

import h5py
import numpy as np
import pytest
from detector_files import SHAPE, detector, q_map
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arroyo.errors import ConfigurationError, DecodeError
from arroyo.messages import Event, Start, Stop
from arroyo.operators.azimuthal_average import AzimuthalAverage, Binning, bin_edges
from arroyo.operators.detector_pixels import Pixels

__all__ = ["detector"]


def looped_average(image, q, usable, variance, edges):
    """The definition, pixel by pixel."""
    curve = np.full((2, len(edges) - 1), np.nan)
    for number, (lower, upper) in enumerate(itertools.pairwise(edges)):
        last = number == len(edges) - 2
        values, variances = [], []
        for place in np.ndindex(image.shape):
            inside = lower <= q[place] < upper or (last and q[place] == upper)
            if inside and usable[place] and np.isfinite(image[place]):
                values.append(float(image[place]))
                variances.append(float(variance[place]))
        if values:
            curve[0, number] = sum(values) / len(values)
            curve[1, number] = np.sqrt(sum(variances)) / len(values)
    return curve


def opened(path, q="q", **options):
    operator = AzimuthalAverage(str(path), q=q, **options)
    operator.open()
    return operator


images = arrays.arrays(np.float64, SHAPE, elements=st.floats(0, 1e6))
masks = arrays.arrays(np.bool_, SHAPE)


@settings(deadline=None)
@given(images, masks, masks, masks, st.integers(1, 12))
def test_it_agrees_with_a_loop_over_pixels(image, usable, infinite, missing, bins):
    image[infinite] = np.inf
    image[missing] = np.nan
    q, sigma = q_map(), np.sqrt(q_map())
    edges = np.linspace(0.1, 0.5, bins + 1)
    for pixels, variance in ((Pixels(q, usable, sigma), sigma**2), (Pixels(q, usable), image)):
        expected = looped_average(image, q, usable, variance, edges)
        np.testing.assert_allclose(Binning(pixels, edges).average(image), expected, rtol=1e-12)


@given(images, masks, st.integers(1, 12), st.sampled_from(["log", "linear"]))
def test_no_count_is_lost_and_none_counted_twice(image, masked, bins, spacing):
    pixels = Pixels(q_map(), ~masked | (q_map() == q_map().max()) | (q_map() < 0.1))
    binning = Binning(pixels, bin_edges(pixels, bins, None, None, spacing))
    averages = binning.average(image)[0]
    assert binning.counts.sum() == pixels.usable.sum()
    total = np.nansum(averages * binning.counts)
    np.testing.assert_allclose(total, image[pixels.usable].sum(), rtol=1e-9)


@given(st.integers(0, 60_000), st.sampled_from(["<u2", ">u2", "<i4", "<f4"]))
def test_a_flat_image_has_that_value_in_every_bin(value, dtype):
    pixels = Pixels(q_map(), np.ones(SHAPE, bool))
    binning = Binning(pixels, bin_edges(pixels, 5, None, None, "linear"))
    averages, deviations = binning.average(np.full(SHAPE, value, dtype))
    np.testing.assert_allclose(averages, value)
    np.testing.assert_allclose(deviations, np.sqrt(value / binning.counts))


def test_a_bin_without_pixels_is_nan():
    pixels = Pixels(np.array([[1.0, 3.0]]), np.ones((1, 2), bool))
    curve = Binning(pixels, np.array([1.0, 1.5, 2.5, 3.0])).average(np.array([[4, 9]]))
    np.testing.assert_array_equal(curve, [[4, np.nan, 9], [2, np.nan, 3]])


def test_counting_uncertainty_is_the_scatter_of_repeated_measurements():
    pixels = Pixels(q_map(), np.ones(SHAPE, bool))
    binning = Binning(pixels, np.array([0.0, 0.3, 0.6]))
    random = np.random.default_rng(3)
    curves = np.array([binning.average(random.poisson(20, SHAPE)) for _ in range(4000)])
    np.testing.assert_allclose(curves[:, 0].std(axis=0), curves[:, 1].mean(axis=0), rtol=0.05)


def test_start_gets_the_axis_of_the_curves(detector):
    start = opened(detector, bins=2, q_min=0.1, q_max=0.4).process(Start({"title": "iron"}))
    assert start.data["title"] == "iron"
    assert start.data["Q"] == pytest.approx([np.sqrt(0.02), np.sqrt(0.08)])
    assert start.data["Q_edges"] == pytest.approx([0.1, 0.2, 0.4])
    assert start.data["Q_units"] == "1/A"
    inside = (q_map() >= 0.1) & (q_map() <= 0.4)
    assert sum(start.data["pixels"]) == inside.sum()


def test_linear_bins_have_their_centres_in_the_middle(detector):
    start = opened(detector, bins=3, q_min=0, q_max=0.6, spacing="linear").process(Start())
    assert start.data["Q"] == pytest.approx([0.1, 0.3, 0.5])


def test_an_image_becomes_a_curve_with_its_metadata(detector):
    image = np.arange(63, dtype=np.float32).reshape(SHAPE)
    curve = opened(detector, mask="mask", sigma="sigma", bins=4, q_min=0.1, q_max=0.6).process(
        Event.from_array(image, frame=7)
    )
    with h5py.File(detector) as file:
        usable, variance = ~file["mask"][()], file["sigma"][()] ** 2
    expected = looped_average(image, q_map(), usable, variance, np.geomspace(0.1, 0.6, 5))
    np.testing.assert_allclose(curve.array, expected)
    assert curve.metadata == {"frame": 7}


def test_components_of_q_give_the_same_curve_as_its_length(detector):
    image = Event.from_array(np.random.default_rng(1).random(SHAPE))
    options = {"bins": 5, "q_min": 0.12, "q_max": 0.5}
    by_length = opened(detector, **options).process(image).array
    by_components = opened(detector, "components", **options).process(image).array
    np.testing.assert_allclose(by_components, by_length)


def test_other_messages_pass_untouched(detector):
    stop = Stop({"frames": 3})
    assert opened(detector).process(stop) is stop


def test_an_image_of_another_detector_is_refused_with_both_shapes(detector):
    with pytest.raises(DecodeError, match=r"shape \(2, 3\).*\(7, 9\)"):
        opened(detector).process(Event.from_array(np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bins": 0}, "bins is 0"),
        ({"spacing": "cubic"}, "'log' or 'linear'"),
        ({"q_min": 3, "q_max": 2}, "q_min must be below q_max"),
        ({"q_min": 0}, "must be above 0 when spacing is 'log'"),
        ({"q_min": 50, "q_max": 60}, "no unmasked pixel .* from 50 to 60"),
        ({"q": "small"}, "all pixels are masked or have Q = 0"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(detector, options, words):
    with pytest.raises(ConfigurationError, match=words):
        opened(detector, **options)
