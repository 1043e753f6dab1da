"""`CountSpots`: how many Bragg spots a frame has, and whether that makes it a hit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from arroyo import Event, Message, Operator

TILE = 32
"""Side of the squares in which the background is taken for even, in pixels."""
CENTRE = 4
"""Of the nine pixels of a 3 x 3 window."""


class CountSpots(Operator):
    """Makes of each frame a message without payload: the frame's metadata, and what was found.

    ``spots`` is their number, ``brightest`` the counts in the highest pixel of one (0 without any),
    ``hit`` whether there are enough of them.

    Parameters
    ----------
    sigmas
        A spot stands out from the background by so many of its standard deviations.
    hit_spots
        So many spots make a hit.
    """

    def __init__(self, sigmas: float = 8.0, hit_spots: int = 15) -> None:
        self.sigmas = sigmas
        self.hit_spots = hit_spots

    def process(self, message: Message) -> Message | None:
        """Count the spots of a frame."""
        if not isinstance(message, Event):
            return None
        heights = find_spots(message.array, self.sigmas)
        found = {
            "spots": len(heights),
            "brightest": int(heights.max(initial=0)),
            "hit": len(heights) >= self.hit_spots,
        }
        return Event({**message.metadata, **found})


def find_spots(image: NDArray[Any], sigmas: float) -> NDArray[Any]:
    """Return the counts in the highest pixel of each spot of a photon-counting image.

    A spot is a pixel that is higher than its eight neighbours, and than what the median of its
    tile lets expect of a Poisson distribution. Pixels at the maximum of their type are masked, as
    detectors write it.
    """
    image = np.where(image == np.iinfo(image.dtype).max, 0, image)
    rows, columns = image.shape
    even = np.pad(image, [(0, -rows % TILE), (0, -columns % TILE)], mode="symmetric")
    tiles = even.reshape(even.shape[0] // TILE, TILE, -1, TILE)
    background = np.maximum(np.median(tiles, axis=(1, 3)), 1)
    limits = background + sigmas * np.sqrt(background)
    limit_of_pixel = limits.repeat(TILE, axis=0).repeat(TILE, axis=1)[:rows, :columns]
    bright = np.nonzero(image > limit_of_pixel)
    windows = sliding_window_view(np.pad(image, 1), (3, 3))[bright].reshape(-1, 9)
    highest = windows.argmax(axis=1) == CENTRE  # of equal neighbours, the first one only
    return image[bright][highest]
