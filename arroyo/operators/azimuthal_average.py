"""`AzimuthalAverage`: makes curves I(Q) of detector images, by the Q of each pixel.

Everything that depends on the detector alone (the bin of each pixel, the number of pixels in each
bin) is computed once, in `open()`; an image then takes two passes over its pixels. `Binning` needs
only numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from arroyo.errors import ConfigurationError, DecodeError
from arroyo.messages import Event, Message, Start
from arroyo.stages import Operator

from .detector_pixels import Pixels, read_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .detector_pixels import Floats

Spacing = Literal["log", "linear"]


class Binning:
    """The pixels of each bin, and averages over them.

    Parameters
    ----------
    pixels
        The detector.
    edges
        Limits of the bins, ascending, one more than there are bins. A bin holds its lower limit,
        the last one its upper limit as well.
    """

    def __init__(self, pixels: Pixels, edges: Floats) -> None:
        self.shape = pixels.q.shape
        q = pixels.q.reshape(-1)
        chosen = pixels.usable.reshape(-1) & (q >= edges[0]) & (q <= edges[-1])
        self._chosen = np.flatnonzero(chosen)
        last = len(edges) - 2
        self._bins = np.minimum(np.searchsorted(edges, q[self._chosen], side="right") - 1, last)
        self.counts = np.bincount(self._bins, minlength=last + 1)
        """Number of pixels of each bin."""
        self._variances: Floats | None = None
        self._variance_sums: Floats | None = None
        if pixels.sigma is not None:
            self._variances = np.square(pixels.sigma.reshape(-1)[self._chosen])
            self._variance_sums = self._sum(self._bins, self._variances)

    def average(self, image: NDArray[Any]) -> Floats:
        """Average `image` over each bin; see `AzimuthalAverage` for the formulas.

        Returns
        -------
        Shape (2, bins): I and its standard deviation. NaN where a bin has no finite pixel.
        """
        values = image.reshape(-1)[self._chosen].astype(np.float64, copy=False)
        bins, counts, variances = self._bins, self.counts, self._variances
        variance_sums = self._variance_sums
        finite = np.isfinite(values)
        if not finite.all():
            values, bins = values[finite], bins[finite]
            counts = np.bincount(bins, minlength=len(self.counts))
            if variances is not None:
                variance_sums = self._sum(bins, variances[finite])
        sums = self._sum(bins, values)
        if variance_sums is None:
            variance_sums = sums
        # 0/0 of an empty bin, and the root of a negative sum of counts, are to be NaN.
        with np.errstate(invalid="ignore"):
            return np.stack((sums / counts, np.sqrt(variance_sums) / counts))

    def _sum(self, bins: NDArray[np.intp], values: Floats) -> Floats:
        sums = np.bincount(bins, values, minlength=len(self.counts))
        return sums.astype(np.float64, copy=False)


class AzimuthalAverage(Operator):
    """Makes a curve of each image: the mean over all pixels of about the same Q.

    For a bin of n pixels with values x and standard deviations s, all of them finite and unmasked:

        I = sum(x) / n        Idev = sqrt(sum(s**2)) / n

    With a `sigma` dataset, s is that of the file, the same for each image. Otherwise the values are
    raw counts: a count is the best estimate of its own variance, so sum(s**2) is sum(x). Then Idev
    is 0 where nothing was counted, and NaN where the sum is negative, as no sum of counts is.

    The mean is not weighted by 1/s**2. If s comes from the counts themselves, that would favour
    pixels that happened to count less, and lower I; a pixel without counts, with s = 0, would
    outweigh all others. The noise of different pixels is assumed to be independent.

    An Event with a 2-D array becomes one with an array of shape (2, bins), float64: I and Idev;
    its metadata is passed on. Both are NaN for a bin without pixels. Start gets, in its data,
    ``Q`` (centres of the bins: geometric means for log spacing), ``Q_edges``, ``Q_units`` and
    ``pixels`` (the number of pixels in each bin).

    Parameters
    ----------
    path
        HDF5 file with the pixels' Q; relative to the working directory.
    q
        Dataset of it: |Q| with the image's shape, or the components of Q with one axis in front.
    mask
        Boolean dataset of it, the image's shape; true means masked, as in NXcanSAS.
    sigma
        Dataset of it with the standard deviation of each pixel of one image.
    bins
        Number of bins.
    q_min, q_max
        First and last limit, in the file's unit; default: those of unmasked pixels with Q > 0.
    spacing
        ``log`` or ``linear``.
    """

    def __init__(
        self,
        path: str,
        *,
        q: str,
        mask: str | None = None,
        sigma: str | None = None,
        bins: int = 100,
        q_min: float | None = None,
        q_max: float | None = None,
        spacing: Spacing = "log",
    ) -> None:
        if bins < 1:
            raise ConfigurationError(f"bins is {bins}, expected 1 or more")
        if spacing not in ("log", "linear"):
            raise ConfigurationError(f"spacing is {spacing!r}, expected 'log' or 'linear'")
        self._path = Path(path)
        self._datasets = (q, mask, sigma)
        self._bins = bins
        self._limits = (q_min, q_max)
        self._spacing = spacing

    def preflight(self) -> None:
        """Check that the file with the pixels' Q exists.

        Raises
        ------
        ConfigurationError
            It does not.
        """
        if not self._path.is_file():
            raise ConfigurationError(
                f"there is no file {self._path.absolute()}; copy it there, or change path"
            )

    def open(self) -> None:
        """Read the pixels' Q and sort them into bins.

        Raises
        ------
        ConfigurationError
            The file can't be read, its datasets don't fit each other, or no pixel is in range.
        """
        pixels = read_pixels(self._path, *self._datasets)
        edges = bin_edges(pixels, self._bins, *self._limits, self._spacing)
        self._binning = Binning(pixels, edges)
        if not self._binning.counts.any():
            raise ConfigurationError(
                f"no unmasked pixel of {self._path} has Q from {edges[0]:g} to {edges[-1]:g}; "
                "change q_min and q_max"
            )
        lower, upper = edges[:-1], edges[1:]
        centres = np.sqrt(lower * upper) if self._spacing == "log" else (lower + upper) / 2
        self._axis: dict[str, Any] = {
            "Q": centres.tolist(),
            "Q_edges": edges.tolist(),
            "Q_units": pixels.q_units,
            "pixels": self._binning.counts.tolist(),
        }

    def process(self, message: Message) -> Message:
        """Average an Event, add the axis to a Start, pass anything else on.

        Raises
        ------
        DecodeError
            The shape of the image is not that of the pixels' Q.
        """
        if isinstance(message, Start):
            return Start({**message.data, **self._axis})
        if not isinstance(message, Event):
            return message
        image = message.array
        if image.shape != self._binning.shape:
            raise DecodeError(
                f"the image has shape {image.shape}, but the Q map in {self._path} has "
                f"{self._binning.shape}; give the map of the detector that sends the images"
            )
        curve = Event.from_array(self._binning.average(image))
        curve.metadata = message.metadata
        return curve


def bin_edges(
    pixels: Pixels, bins: int, q_min: float | None, q_max: float | None, spacing: Spacing
) -> Floats:
    """Return the limits of the bins; a missing one is that of the usable pixels with Q > 0.

    Raises
    ------
    ConfigurationError
        There is no usable pixel, or the lower limit is not below the upper one.
    """
    inside = pixels.q[pixels.usable & (pixels.q > 0)]
    if not inside.size:
        raise ConfigurationError("all pixels are masked or have Q = 0; check the mask and Q map")
    first = float(inside.min()) if q_min is None else q_min
    last = float(inside.max()) if q_max is None else q_max
    if not first < last:
        raise ConfigurationError(f"Q goes from {first:g} to {last:g}; q_min must be below q_max")
    if spacing == "log" and first <= 0:
        raise ConfigurationError(f"q_min is {first:g}; it must be above 0 when spacing is 'log'")
    return (np.geomspace if spacing == "log" else np.linspace)(first, last, bins + 1)
