"""`FrameTaps`: frames that pass through a stage, while a page asks for them.

The page asks for the next frame when it has painted the last one, so nothing queues. The last few
are kept whole, so that the value under the cursor is that of the frame on the screen. A stage that
nobody asks for is not looked at.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

from arroyo.errors import UnavailableError, UsageError
from arroyo.supervision.live.tapped_message import describe_head, numbers_of
from arroyo.supervision.live.tapped_stage import SeenMessage, TappedStage

from .frames import plane_of, statistics

RATE_PER_S = 20.0
BYTES_PER_S = float(128 << 20)
WAIT_S = 1.0
LOOK_EVERY_S = 0.01
IDLE_S = 2.0
KEPT = 8
KEPT_BYTES = 96 << 20
STAGES = 4
"""Stages that are looked at, at the same time."""
NICENESS = 19


class Frame(NamedTuple):
    """One message as it passed."""

    number: int
    """It counts what was looked at, from 1."""
    time: float
    """When it was seen, in s since 1970."""
    facts: dict[str, Any]
    """Replica, key, metadata, type, shape, statistics."""
    plane: Any = None
    """Its array as an image; None: it has none."""


class FrameTap:
    """Follows one stage.

    `wait_s`: a page that has got nothing for so long is told that, and asks again.
    `idle_s`: a stage that nobody has asked for for so long is not looked at any more.
    """

    def __init__(
        self,
        open_stage: Callable[[], TappedStage],
        *,
        wait_s: float = WAIT_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._open_stage = open_stage
        self._wait_s = wait_s
        self._idle_s = idle_s
        self._pool = ThreadPoolExecutor(1, initializer=lambda: os.nice(NICENESS))
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._fresh = asyncio.Event()
        self._number = 0
        self._waiting = 0
        """Pages that wait for the next one; while none does, those that are kept stay."""
        self._opening = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._is_closed = False
        self.asked_at = time.monotonic()

    async def next(self, after: int) -> Frame | None:
        """Return the first frame behind this one that is still to come; None: not in time.

        UsageError, UnavailableError: the stage can't be looked at.
        """
        self.asked_at = time.monotonic()
        async with self._opening:  # pages may ask at the same time
            if self._following is None or self._following.done():
                stage = await self.run(self._open)
                self._following = asyncio.create_task(self._follow(stage))
        if self._number <= after:
            after = self._number  # a page may know of more, by a tap that has made room for others
            self._waiting += 1
            try:
                async with asyncio.timeout(self._wait_s):
                    while self._number <= after:  # it may be told of one that was taken already
                        await self._fresh.wait()
            except TimeoutError:
                return None
            finally:
                self._waiting -= 1
        return self._frames[self._number]

    def kept(self, number: int) -> Frame:
        """Return a frame that was shown; UsageError: it is gone."""
        if (frame := self._frames.get(number)) is None:
            raise UsageError("this frame is not kept any more")
        return frame

    @property
    def first(self) -> int:
        """Number of the oldest frame that is kept."""
        return next(iter(self._frames), 0)

    async def run(self, work: Callable[[], Any]) -> Any:
        """Do something in the thread of this stage, which gives way to the chain.

        UnavailableError: the stage has made room for another one.
        """
        if self._is_closed:
            raise UnavailableError(
                f"only {STAGES} stages are shown at a time, and another one was asked for"
            )
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _open(self) -> TappedStage:
        stage = self._open_stage()
        with ExitStack() as failing:
            failing.callback(stage.close)
            stage.open()
            failing.pop_all()
        return stage

    async def _follow(self, stage: TappedStage) -> None:
        """Look until nobody asks any more, or the stage has to make room."""
        try:
            while not self._is_closed and time.monotonic() - self.asked_at < self._idle_s:
                if not self._waiting or not await self.run(lambda: self._look(stage)):
                    await asyncio.sleep(LOOK_EVERY_S)
                else:
                    fresh, self._fresh = self._fresh, asyncio.Event()
                    fresh.set()
        finally:
            stage.close()

    def _look(self, stage: TappedStage) -> bool:
        found = False
        for seen in stage.look(RATE_PER_S, BYTES_PER_S):
            frame = frame_of(self._number + 1, seen)
            self._frames[frame.number] = frame
            self._number, found = frame.number, True
            while len(self._frames) > KEPT or (
                len(self._frames) > 1 and self._kept_bytes() > KEPT_BYTES
            ):
                self._frames.popitem(last=False)
        return found

    def _kept_bytes(self) -> int:
        return sum(each.plane.nbytes for each in self._frames.values() if each.plane is not None)

    def close(self) -> None:
        """Look no more, once what is being done with the stage is done."""
        self._is_closed = True
        self._pool.shutdown(wait=False)


def frame_of(number: int, seen: SeenMessage) -> Frame:
    """Return a message as a frame; without a plane, if it is no array of numbers."""
    _, message, payload, payload_bytes = seen.sample
    facts, payload = describe_head(seen.header, message, payload, payload_bytes)
    facts["replica"] = seen.replica
    if not facts.get("dtype") or len(payload) != facts["payload_bytes"]:
        return Frame(number, seen.time, facts)
    array = numbers_of(payload, facts["dtype"], facts["shape"])
    if array is None or not array.size:
        return Frame(number, seen.time, facts)
    plane = plane_of(array)
    return Frame(number, seen.time, facts | statistics(plane), plane)


class FrameTaps:
    """The stages that pages look at; of too many the one longest not asked for makes room."""

    def __init__(self, open_stage: Callable[[str], TappedStage]) -> None:
        self._open_stage = open_stage
        self._taps: dict[str, FrameTap] = {}

    def of(self, stage: str) -> FrameTap:
        """Return the tap of a stage."""
        if stage not in self._taps:
            if len(self._taps) >= STAGES:
                oldest = min(self._taps, key=lambda name: self._taps[name].asked_at)
                self._taps.pop(oldest).close()
            self._taps[stage] = FrameTap(lambda: self._open_stage(stage))
        return self._taps[stage]
