"""`ReplayedDetector`: one measured scattering image, played back as the series it might have been.

What is measured: the image I with its standard deviations Idev and its mask, taken from a file.
What is drawn: the noise of each frame. Frame k is I + Idev * g, with g from a normal distribution
that the seed and k alone decide. So the same frame is the same in each run and on each delivery,
the noise of two frames is independent, and the mean of many frames approaches I as 1/sqrt(frames).

Masked pixels hold the measured value, without noise: their Idev is a sentinel. So do pixels that
counted nothing, whose Idev is 0 in the file.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from arroyo import ConfigurationError, Event, Listener, Start, Stop
from arroyo.stages import Processor

GROUP = "sasentry01/data"


class ReplayedDetector(Listener):
    """Sends Start, `frames` images at a steady rate, Stop.

    Each Event holds a float32 array with the image's shape and, as metadata, ``frame``, counted
    from 0. When the chain is slower than the rate, frames come late, none is left out. Stopped
    early, it closes the run with the number of frames that it sent.

    Parameters
    ----------
    path
        NXcanSAS file with I, Idev and Imask; relative to the working directory.
    frames
        Length of the series.
    rate_hz
        Frames per second.
    seed
        Decides all noise.
    """

    def __init__(
        self,
        operator: Processor,
        path: str,
        frames: int = 300,
        rate_hz: float = 20.0,
        seed: int = 1,
    ) -> None:
        super().__init__(operator)
        if frames < 0 or rate_hz <= 0:
            raise ConfigurationError(
                f"frames is {frames} and rate_hz is {rate_hz:g}; neither can be negative, "
                "and the rate can't be 0"
            )
        self._path = Path(path)
        self._frames = frames
        self._period_s = 1 / rate_hz
        self._seed = seed
        self._stopped = threading.Event()

    def open(self) -> None:
        """Read the measured image.

        Raises
        ------
        ConfigurationError
            The file is missing or has not the expected datasets.
        """
        try:
            with h5py.File(self._path) as file:
                group = file[GROUP]
                self._image = group["I"][()].astype(np.float32)
                masked = group["Imask"][()].astype(bool)
                self._sigma = np.where(masked, 0, group["Idev"][()]).astype(np.float32)
                units = str(group["I"].attrs["units"])
                title = group.parent["title"].asstr()[()]
        except (OSError, KeyError) as error:
            raise ConfigurationError(
                f"{self._path} is not a measured image with I, Idev and Imask in {GROUP} "
                f"({error}); `python fetch_data.py` in the chain's folder fetches one"
            ) from error
        self._series: dict[str, Any] = {
            "title": title,
            "frames": self._frames,
            "seed": self._seed,
            "I_units": units,
            "Idev_units": units,
        }

    def start(self) -> None:
        """Send the series; returns after the last frame, or soon after `stop()`."""
        self.operator.process(Start(self._series))
        first_s = time.monotonic()
        sent = 0
        while sent < self._frames:
            due_s = first_s + sent * self._period_s
            if self._stopped.wait(max(0.0, due_s - time.monotonic())):
                break
            self.operator.process(Event.from_array(self.frame(sent), frame=sent))
            sent += 1
        self.operator.process(Stop({"frames": sent}))

    def stop(self) -> None:
        """End the series after the frame in hand."""
        self._stopped.set()

    def frame(self, number: int) -> NDArray[np.float32]:
        """Draw frame `number`: float32, the image's shape; the same whenever it is asked for."""
        noise = np.random.Generator(np.random.SFC64((self._seed, number)))
        values: NDArray[np.float32] = noise.standard_normal(self._image.shape, dtype=np.float32)
        values *= self._sigma
        values += self._image
        return values
