"""Arrays as the page draws them: made smaller, but with true values and statistics. PURE.

A pixel has no value where its type says so: no number, below 0 in a type with a sign, or the
greatest of a type without one, as detectors write it for gaps and for what is saturated. Such
pixels are left out of statistics; a cell of the picture is the greatest value of its block.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

CELLS_MAX = 2048
"""Most cells of a picture in one direction."""
CUT_POINTS = 240
"""Most points of a cut through a region."""


class Region(NamedTuple):
    """A part of an image, in its pixels."""

    x: int = 0
    y: int = 0
    wide: int = 0
    """0: all of it."""
    high: int = 0


_WHOLE = Region()


class Orientation(NamedTuple):
    """How an image lies on the screen: turned, then flipped."""

    turn: int = 0
    """Quarters, clockwise."""
    flip: int = 0
    """1: left and right are exchanged."""


_AS_IT_IS = Orientation()


class Picture(NamedTuple):
    """What is drawn."""

    shown: dict[str, Any]
    """What it is, as JSON can hold it."""
    cells: bytes = b""
    """Little endian: ``u2``, values and 1, where 0 is no value; or ``f4``, where NaN is."""

    def packed(self) -> bytes:
        """Return it as it is sent: the length of the JSON as u32, the JSON, blanks, the cells."""
        head = json.dumps(self.shown).encode()
        head += b" " * (-(len(head) + 4) % 8)
        return len(head).to_bytes(4, "little") + head + self.cells


def plane_of(array: np.ndarray) -> np.ndarray:
    """Return an array as an image: a curve as one row, of more axes the first plane."""
    if array.ndim < 2:
        return array.reshape(1, -1)
    plane: np.ndarray = array.reshape(-1, *array.shape[-2:])[0]
    return plane


def statistics(plane: np.ndarray) -> dict[str, Any]:
    """Return least, greatest and mean value, and how many pixels have none."""
    import numpy as np

    values = _values(plane)
    if values is None:
        return {"min": None, "max": None, "mean": None, "masked": plane.size}
    with np.errstate(all="ignore"):
        mean = float(values.mean(dtype="f8"))
    return {
        "min": _plain(values.min()),
        "max": _plain(values.max()),
        "mean": mean if math.isfinite(mean) else None,
        "masked": plane.size - values.size,
    }


def _values(plane: np.ndarray) -> np.ndarray | None:
    """Return the values of the pixels that have one; None: there are none."""
    good = _has_value(plane)
    values = plane if good.all() else plane[good]
    return values if values.size else None


def _has_value(plane: np.ndarray) -> np.ndarray:
    """Return which pixels have a value, as bool of the same shape."""
    import numpy as np

    if plane.dtype.kind == "u":
        return np.asarray(plane != np.iinfo(plane.dtype).max)
    if plane.dtype.kind == "i":
        return np.asarray(plane >= 0)
    return np.asarray(np.isfinite(plane))


def _part(plane: np.ndarray, region: Region) -> tuple[np.ndarray, list[int]]:
    """Return a part of an image, and where it is; one outside is brought inside."""
    rows, columns = plane.shape
    x, y = min(region.x, columns - 1), min(region.y, rows - 1)
    part = plane[y : y + (region.high or rows), x : x + (region.wide or columns)]
    return part, [x, y, part.shape[1], part.shape[0]]


def measure(plane: np.ndarray, region: Region) -> dict[str, Any]:
    """Return sum and statistics of a region, and means along its sides; null: of no value.

    `across` goes from left to right, `down` from top to bottom, both in CUT_POINTS steps at most.
    """
    import numpy as np

    part, place = _part(plane, region)
    good = _has_value(part)
    wide = {"f": "f8", "i": "i8"}.get(part.dtype.kind, "u8")
    counted = np.where(good, part, 0).astype(wide)
    with np.errstate(all="ignore"):
        cuts = [_cut(counted.sum(axis), good.sum(axis)) for axis in (0, 1)]
        total = _plain(counted.sum())
    return {"region": place, "sum": total, **statistics(part), "across": cuts[0], "down": cuts[1]}


def _cut(sums: np.ndarray, pixels: np.ndarray) -> list[float | None]:
    import numpy as np

    steps = np.arange(0, len(sums), math.ceil(len(sums) / CUT_POINTS))
    means = np.add.reduceat(sums.astype("f8"), steps) / np.add.reduceat(pixels, steps)
    return [mean if math.isfinite(mean) else None for mean in means.tolist()]


def draw(
    plane: np.ndarray,
    wide: int,
    high: int,
    region: Region = _WHOLE,
    orientation: Orientation = _AS_IT_IS,
) -> Picture:
    """Return a part of an image in at most so many cells; a curve lies as it is."""
    import numpy as np

    part, place = _part(plane, region)
    block = max(1, math.ceil(part.shape[1] / wide), math.ceil(part.shape[0] / high))
    if part.dtype.kind == "b":
        part = part.astype("u1").astype("u2")
    if part.dtype.kind == "u" and part.dtype.itemsize <= 2:
        top = np.iinfo(part.dtype).max
        part = part.astype("u2", copy=False) if top > 255 else _widened(part)
        cells, form = _greatest(part + np.uint16(1), block), "u2"
    else:
        cells, form = _greatest(_with_gaps(part), block), "f4"
    turn, flip = orientation if len(plane) > 1 else _AS_IT_IS
    cells = np.rot90(cells, -turn)[:, :: -1 if flip else 1]
    shown = {"format": form, "block": block, "wide": cells.shape[1], "high": cells.shape[0]}
    shown |= {"region": place, "turn": turn, "flip": flip}
    return Picture(shown, np.ascontiguousarray(cells, dtype=f"<{form}").tobytes())


def _widened(part: np.ndarray) -> np.ndarray:
    """Return bytes as u2, whose greatest value says the same."""
    import numpy as np

    wider = part.astype("u2")
    wider[part == np.iinfo(part.dtype).max] = np.iinfo("u2").max
    return wider


def _with_gaps(part: np.ndarray) -> np.ndarray:
    """Return values as f4, NaN where there is none."""
    import numpy as np

    with np.errstate(all="ignore"):
        wider = part.astype("f4")
    wider[~(_has_value(part) & np.isfinite(wider))] = np.nan
    return wider


def _greatest(cells: np.ndarray, block: int) -> np.ndarray:
    """Return the greatest value of each block; at the ends blocks may be smaller."""
    import numpy as np

    greater = np.fmax if cells.dtype.kind == "f" else np.maximum
    rows = cells[::block].copy()  # first along the rows, which lie in one piece
    for offset in range(1, block):
        more = cells[offset::block]
        greater(rows[: len(more)], more, out=rows[: len(more)])
    found = rows[:, ::block].copy()
    for offset in range(1, block):
        more = rows[:, offset::block]
        greater(found[:, : more.shape[1]], more, out=found[:, : more.shape[1]])
    return found


def value_at(plane: np.ndarray, x: int, y: int) -> Any:
    """Return the value of one pixel, as JSON can hold it; IndexError: there is none."""
    if x < 0 or y < 0:
        raise IndexError("before the first pixel")
    return _plain(plane[y, x])


def _plain(value: Any) -> Any:
    plain = value.item()
    return plain if not isinstance(plain, float) or math.isfinite(plain) else str(plain)
