"""Frames of a stage that is played; the integration tests have a real one."""

import asyncio
import threading

import numpy as np
import pytest
from batches import make_batch

from arroyo.codec import MessageCodec
from arroyo.control.tap_file import Sample
from arroyo.dashboard.frame_tap import KEPT, STAGES, FrameTap, FrameTaps, frame_of
from arroyo.dashboard.frames import Picture
from arroyo.errors import UnavailableError, UsageError
from arroyo.messages import Event
from arroyo.supervision.live.tapped_stage import SeenMessage


def seen(event):
    header = make_batch(ranges=((0, 1),))
    return SeenMessage(1.5, "work.0", header, Sample(b"", MessageCodec(()).pack(event)))


class Stage:
    """Gives a message at each look, until it has no more."""

    def __init__(self, count=10**6, trouble=None):
        self.left, self.trouble = count, trouble
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1
        if self.trouble:
            raise self.trouble

    def look(self, rate_per_s, bytes_per_s):
        if self.left:
            self.left -= 1
            yield seen(Event.from_array(np.arange(6, dtype="<u2").reshape(2, 3), index=self.left))

    def close(self):
        self.closed += 1


def use(coroutine):
    return asyncio.run(coroutine)


def test_frames_come_one_after_the_other_and_the_last_few_are_kept():
    stage = Stage()

    async def main():
        tap = FrameTap(lambda: stage)
        number = 0
        while number < 3 * KEPT:
            frame = await tap.next(number)
            assert frame.number > number
            number = frame.number
        assert tap.kept(number) is frame
        with pytest.raises(UsageError, match="not kept any more"):
            tap.kept(1)
        assert number - tap.first < KEPT + 1
        tap.close()

    use(main())
    assert (stage.opened, stage.closed) == (1, 1)


def test_nobody_who_asks_means_that_nothing_is_looked_at():
    stage = Stage(count=1)

    async def main():
        tap = FrameTap(lambda: stage, wait_s=0.01, idle_s=0.0)
        await tap.next(0)
        while not stage.closed:
            await asyncio.sleep(0)
        await tap.next(0)
        assert stage.opened == 2
        tap.close()

    use(main())


def test_pages_that_ask_at_the_same_time_have_the_stage_opened_once():
    stage = Stage()

    async def main():
        tap = FrameTap(lambda: stage)
        await asyncio.gather(*[tap.next(0) for _ in range(3)])
        tap.close()

    use(main())
    assert (stage.opened, stage.closed) == (1, 1)


def test_a_stage_that_has_made_room_is_closed_once_its_thread_is_done_with_it():
    looking, gate = threading.Event(), threading.Event()

    class Slow(Stage):
        def look(self, rate_per_s, bytes_per_s):
            looking.set()
            gate.wait(10)
            assert not self.closed
            yield from super().look(rate_per_s, bytes_per_s)

    stage = Slow()

    async def main():
        tap = FrameTap(lambda: stage)
        asks = asyncio.create_task(tap.next(0))
        await asyncio.to_thread(looking.wait)
        tap.close()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stage.closed
        gate.set()
        assert (await asks).number == 1
        while not stage.closed:
            await asyncio.sleep(0)
        for ask in (tap.run(bool), tap.next(1)):
            with pytest.raises(UnavailableError, match="only 4 stages are shown at a time"):
                await ask

    use(main())


def test_where_nothing_passes_that_is_told_in_time():

    async def main():
        tap = FrameTap(lambda: Stage(count=0), wait_s=0.01)
        assert await tap.next(0) is None
        tap.close()

    use(main())


def test_a_page_that_has_seen_a_tap_before_this_one_gets_its_next_frame():
    async def main():
        tap = FrameTap(Stage)
        assert (await tap.next(1000)).number == 1
        tap.close()

    use(main())


def test_a_stage_that_can_not_be_looked_at_is_asked_again():
    stage = Stage(trouble=UnavailableError("another command looks"))

    async def main():
        tap = FrameTap(lambda: stage)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await tap.next(0)
        tap.close()

    use(main())
    assert stage.opened == stage.closed == 2


def test_the_stage_longest_not_asked_for_makes_room():
    taps = FrameTaps(lambda _: Stage())
    first = taps.of("s0")
    others = [taps.of(f"s{number}") for number in range(1, STAGES)]
    first.asked_at += 1
    taps.of("more")
    assert taps.of("s0") is first
    assert taps.of("s1") is not others[0]


def test_a_frame_has_its_metadata_its_figures_and_its_array():
    frame = frame_of(3, seen(Event.from_array(np.array([[1, 2], [3, 65535]], "<u2"), index=7)))
    assert (frame.number, frame.time) == (3, 1.5)
    assert frame.facts["metadata"] == {"index": 7}
    assert (frame.facts["max"], frame.facts["masked"], frame.facts["replica"]) == (3, 1, "work.0")
    assert frame.plane.tolist() == [[1, 2], [3, 65535]]


def test_numbers_wider_than_those_of_python_are_drawn_as_such():
    frame = frame_of(1, seen(Event.from_array(np.array([[1, 2]], "g"))))
    assert frame.facts["max"] == 2.0
    assert Picture(frame.facts).packed()


@pytest.mark.parametrize(
    "event",
    [Event({"a": 1}, b"bytes"), Event.from_array(np.zeros((0, 3))), Event({}, b"1", "<U9", ())],
)
def test_what_is_no_array_of_numbers_has_no_image(event):
    assert frame_of(1, seen(event)).plane is None
