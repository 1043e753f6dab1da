import itertools

import numpy as np
import pytest

from arroyo.bench.stages.frames import (
    BINNED_PIXELS,
    frame_of,
    frames_in_memory,
    integrate,
    pixels_for,
    read,
    transform,
)


def test_frames_fill_more_than_a_cache_and_differ():
    frames = frames_in_memory(8 << 20)
    assert sum(frame.nbytes for frame in frames) == 128 << 20
    assert len({frame[0] for frame in frames}) == len(frames)


def test_a_frame_is_read_where_it_lies():
    buffer = np.arange(1000, dtype=np.float32)
    frame = frame_of(buffer.data)
    assert np.shares_memory(frame, buffer)
    assert read(frame) == 999.0


def test_a_frame_can_be_transformed_again_and_again():
    frame = np.full(1000, 1e6, np.float32)
    for _ in range(100):
        frame = transform(frame)
    assert frame.dtype == np.float32
    assert frame == pytest.approx(2.0)


@pytest.mark.parametrize("pixels", [1, BINNED_PIXELS, 2 * BINNED_PIXELS + 7])
def test_each_pixel_is_binned_once_for_each_time_it_is_gone_through(pixels):
    curve = integrate(np.ones(BINNED_PIXELS, np.float32), pixels)
    assert curve.sum() == pixels


def test_a_stage_can_be_given_work_of_any_duration(monkeypatch):
    ticks = itertools.count(step=0.5)
    monkeypatch.setattr("arroyo.bench.stages.frames.time.perf_counter", lambda: next(ticks))
    assert pixels_for(2.0) == 4 * BINNED_PIXELS
