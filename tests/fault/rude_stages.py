"""Stages as people write them: they keep what they get, print, raise, exit and leave things behind.

`rude_campaign` copies this file to the chain's folder and judges with it: what becomes of a frame
follows from its number alone.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time
import zlib

import numpy as np

from arroyo import Event, Operator, Stop

SHAPE = (256, 256)
BINS = 100
KEPT = 50
"""Frames that the operator looks at again and again, as a median would."""
PERIOD = 450
"""After so many frames it all begins again."""
AT_ONCE = 10
"""Frames that one output of the fold is made of."""
LAST_OUTPUT = -1.0
"""Number of a frame that is not there, in the last output of a run."""

UNREADABLE = 411
"""This file is no image."""


class MuteError(Exception):
    """It can't be shown."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def raise_(error):
    raise error


FATES = {
    41: lambda: sys.exit("an operator that ends itself"),
    82: lambda: raise_(KeyboardInterrupt()),
    123: lambda: raise_(MuteError()),
    164: lambda: ctypes.string_at(0),
    205: lambda: os._exit(0),
    246: lambda: Event({"a lock": threading.Lock()}),
    287: lambda: "no message",
    328: os.abort,
    369: lambda: raise_(asyncio.CancelledError()),
    432: lambda: raise_(GeneratorExit()),
}
"""What ends a frame, by its number in the period."""


def is_bad(number):
    """Whether the operator fails on a frame, each time it comes."""
    place = number % PERIOD
    return place in FATES or place % 20 == 7


def make_frame(number):
    return np.random.default_rng(number).integers(0, 1000, SHAPE, "uint16")


def integrate(frame):
    """Make a curve of a frame, as azimuthal integration does: a weighted histogram."""
    rows, columns = np.indices(SHAPE)
    radius = np.hypot(rows - SHAPE[0] / 2, columns - SHAPE[1] / 2).ravel()
    bins = np.minimum(radius.astype(int) * BINS // SHAPE[0], BINS - 1)
    return np.bincount(bins, frame.ravel(), BINS) / np.maximum(np.bincount(bins, None, BINS), 1)


class Integrate(Operator):
    """Makes a curve of each frame; keeps frames, and does what one should not."""

    def __init__(self, work_s, wrong):
        self.work_s, self.wrong = work_s, wrong
        self.kept = []

    def process(self, message):
        if not isinstance(message, Event):
            return None
        number = int(message.metadata["filename"].split(".")[0])
        place = number % PERIOD
        if place in FATES:
            return FATES[place]()
        if place % 20 == 7:
            raise ValueError(f"frame {number} is bad")
        self.misbehave(place)
        self.keep(message.array)
        time.sleep(self.work_s)  # stands for work that leaves the processor to others
        curve = integrate(message.array)
        return Event.from_array(np.concatenate(([number], curve)), number=number)

    def keep(self, frame):
        """Keep the last frames as they came, and look whether they are still what they were."""
        self.kept = [*self.kept[-KEPT:], (frame, zlib.crc32(frame))]
        changed = sum(zlib.crc32(frame) != crc for frame, crc in self.kept)
        if changed:
            with open(self.wrong, "a") as file:
                file.write(f"{changed}\n")  # of the frames in `kept`

    def misbehave(self, place):
        if place % 45 == 20:
            print("chatter " * 10_000, flush=True)
        if place == 100:
            threading.Thread(target=threading.Event().wait).start()  # it never ends
        if place == 150:
            subprocess.Popen(["sleep", "3600"])
        if place == 200:
            ctypes.PyDLL(None).sleep(2)  # and holds the interpreter's lock meanwhile


class Gather(Operator):
    """Makes one output of ten curves, whose frames it keeps as they came."""

    folds = True
    max_inputs = AT_ONCE

    def __init__(self):
        self.curves = []

    def process(self, message):
        if isinstance(message, Event):
            self.curves.append(message.array)
        if self.curves and (len(self.curves) == AT_ONCE or isinstance(message, Stop)):
            rows = np.full((AT_ONCE, BINS + 1), np.nan)
            rows[:, 0] = LAST_OUTPUT
            rows[: len(self.curves)] = self.curves
            self.curves = []
            return Event.from_array(rows)
        return None
