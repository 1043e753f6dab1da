import json

import numpy as np
import pytest

from arroyo.dashboard.frames import (
    CUT_POINTS,
    Orientation,
    Region,
    draw,
    measure,
    plane_of,
    statistics,
    value_at,
)


def cells(plane, wide, high, *region):
    """Draw, and return the values of the cells, NaN where there is none."""
    picture = draw(plane, wide, high, Region(*region))
    shown = picture.shown
    found = np.frombuffer(picture.cells, "<" + shown["format"]).astype("f8")
    if shown["format"] == "u2":
        found = np.where(found == 0, np.nan, found - 1)
    return found.reshape(shown["high"], shown["wide"])


def slowly(plane, block):
    """The greatest of each block, the plain way."""
    rows, columns = (-(-size // block) for size in plane.shape)
    found = np.full((rows, columns), np.nan)
    for y in range(rows):
        for x in range(columns):
            part = plane[y * block : (y + 1) * block, x * block : (x + 1) * block]
            if not np.isnan(part).all():
                found[y, x] = np.nanmax(part)
    return found


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<u4", "<i2", "<i4", "<f4", "<f8", "?"])
def test_a_cell_is_the_greatest_value_of_its_block(dtype):
    values = np.random.default_rng(0).integers(0, 200, (37, 53))
    plane = (values > 100 if dtype == "?" else values).astype(dtype)
    for block in (1, 2, 5):
        wide, high = (-(-size // block) for size in (53, 37))
        expected = slowly(plane.astype("f8"), block)
        np.testing.assert_array_equal(cells(plane, wide, high), expected)


@pytest.mark.parametrize(
    ("dtype", "gap"),
    [("u1", 255), ("<u2", 65535), ("<u4", 2**32 - 1), ("<i4", -1), ("<f4", np.nan)],
)
def test_what_has_no_value_hides_no_neighbour_and_counts_in_no_figure(dtype, gap):
    plane = np.array([[gap, 7, gap, gap], [3, 5, gap, gap]], dtype)
    np.testing.assert_array_equal(cells(plane, 2, 1), [[7, np.nan]])
    assert statistics(plane) == {"min": 3, "max": 7, "mean": 5.0, "masked": 5}


def test_where_nothing_has_a_value_there_are_no_figures():
    found = statistics(np.full((2, 2), np.nan))
    assert found == {"min": None, "max": None, "mean": None, "masked": 4}
    json.dumps(found, allow_nan=False)


def test_a_part_is_drawn_in_full_and_one_outside_is_brought_inside():
    plane = np.arange(10_000, dtype="<u2").reshape(100, 100)
    np.testing.assert_array_equal(cells(plane, 10, 10, 20, 30, 10, 10), plane[30:40, 20:30])
    picture = draw(plane, 10, 10, Region(500, 500, 10, 10))
    assert picture.shown["region"] == [99, 99, 1, 1]


def test_an_image_is_turned_clockwise_then_flipped_and_a_curve_is_not():
    plane = np.array([[1, 2, 3], [4, 5, 6]], "<u2")

    def lying(plane, *orientation):
        picture = draw(plane, 10, 10, orientation=Orientation(*orientation))
        shown = picture.shown
        found = np.frombuffer(picture.cells, "<u2").reshape(shown["high"], shown["wide"]) - 1
        return found.tolist(), shown["turn"], shown["flip"]

    assert lying(plane, 1, 0) == ([[4, 1], [5, 2], [6, 3]], 1, 0)
    assert lying(plane, 1, 1) == ([[1, 4], [2, 5], [3, 6]], 1, 1)
    assert lying(plane, 2, 0) == ([[6, 5, 4], [3, 2, 1]], 2, 0)
    assert lying(plane[:1], 1, 1) == ([[1, 2, 3]], 0, 0)


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i4", "<u8", "<f4", "<f8", "?"])
def test_a_region_is_summed_in_full_and_cut_along_its_sides(dtype):
    values = np.random.default_rng(0).integers(0, 250, (900, 700))
    plane = (values > 100 if dtype == "?" else values).astype(dtype)
    found = measure(plane, Region(100, 50, 500, 30))
    part = plane[50:80, 100:600].astype("f8")
    assert (found["region"], found["sum"]) == ([100, 50, 500, 30], part.sum())
    assert found["mean"] == pytest.approx(part.mean())
    assert found["down"] == pytest.approx(part.mean(axis=1))
    assert len(found["across"]) == 167 <= CUT_POINTS
    assert found["across"][1] == pytest.approx(part[:, 3:6].mean())
    assert found["across"][-1] == pytest.approx(part[:, 498:].mean())


def test_in_a_region_gaps_count_in_nothing_and_large_sums_are_exact():
    plane = np.array([[2**32 - 2, 2**32 - 2, 7], [2**32 - 1, 1, 2**32 - 1]], "<u4")
    found = measure(plane, Region(0, 0, 3, 2))
    assert (found["sum"], found["masked"], found["min"]) == (2 * (2**32 - 2) + 8, 2, 1)
    assert found["across"] == [2**32 - 2, (2**32 - 1) / 2, 7]
    assert found["down"] == [(2 * (2**32 - 2) + 7) / 3, 1]
    empty = measure(np.array([[np.nan, np.inf]]), Region(0, 0, 2, 1))
    assert (empty["sum"], empty["mean"], empty["across"]) == (0, None, [None, None])
    json.dumps([found, empty], allow_nan=False)


def test_what_is_sent_has_its_cells_where_numbers_may_begin():
    sent = draw(np.ones((3, 5), "<f4"), 100, 100).packed()
    size = int.from_bytes(sent[:4], "little")
    shown = json.loads(sent[4 : 4 + size])
    assert (4 + size) % 8 == 0
    assert (shown["wide"], shown["high"], len(sent) - 4 - size) == (5, 3, 60)


@pytest.mark.parametrize(
    ("shape", "plane"), [((), (1, 1)), ((7,), (1, 7)), ((2, 3), (2, 3)), ((4, 2, 3), (2, 3))]
)
def test_any_array_is_an_image(shape, plane):
    assert plane_of(np.zeros(shape)).shape == plane


def test_a_value_is_the_one_of_the_array():
    plane = np.array([[1, 2**32 - 1]], "<u4")
    assert value_at(plane, 1, 0) == 2**32 - 1
    assert value_at(np.array([[np.nan]]), 0, 0) == "nan"
    for x, y in ((2, 0), (0, 1), (-1, 0)):
        with pytest.raises(IndexError):
            value_at(plane, x, y)
