"""A clock that a test moves."""

import pytest

from arroyo.testing import FakeClock


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock(monotonic_s=5.0, wall_s=10.0)
    clock.advance(2.5)
    clock.set_wall(0.0)
    assert (clock.monotonic(), clock.wall()) == (7.5, 0.0)
    with pytest.raises(ValueError, match=r"backwards|advance"):
        clock.advance(-1)
