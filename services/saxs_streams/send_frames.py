"""Play a measured image back into the Redis stream `frames`, as an acquisition program would.

It knows nothing of Arroyo but the format of an entry (arroyo/connectors/WIRE_FORMAT.md). What is
measured and what is drawn: ../saxs_reduction/README.md. Usage: python send_frames.py
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import redis
from numpy.typing import NDArray

STREAM = "frames"
MOST_FRAMES = 30
"""The stream holds so many at most: each has 4 MB, in the server's memory."""


def draw_frames(path: str, count: int) -> Iterator[NDArray[np.float32]]:
    """Yield the image with the noise that `count` measurements would have had."""
    with h5py.File(path) as file:
        group = file["sasentry01/data"]
        image = group["I"][()].astype(np.float32)
        sigma = np.where(group["Imask"][()], 0, group["Idev"][()]).astype(np.float32)
    for number in range(count):
        noise = np.random.Generator(np.random.SFC64((1, number)))
        yield image + sigma * noise.standard_normal(image.shape, dtype=np.float32)


def add(client: redis.Redis, header: dict[str, Any], payload: bytes = b"") -> None:
    """Add an entry, once there is room; room is what every group has finished."""
    while client.xlen(STREAM) >= MOST_FRAMES:
        client.xtrim(STREAM, minid=first_unfinished(client), approximate=False)
        time.sleep(0.01)
    client.xadd(STREAM, {"header": json.dumps(header), "payload": payload})


def first_unfinished(client: redis.Redis) -> str:
    """Return the id of the first entry that some group has not finished."""
    firsts = []
    for group in client.xinfo_groups(STREAM):
        waiting = client.xpending(STREAM, group["name"])["min"]
        firsts.append((waiting or group["last-delivered-id"]).decode())
    return min(firsts, key=lambda entry: tuple(map(int, entry.split("-"))), default="0-0")


def main() -> None:
    """Send Start, the frames at their rate, Stop."""
    path = os.environ.get("SAXS_IMAGE", "../saxs_reduction/BAM_2D.h5")
    count = int(os.environ.get("FRAMES", "300"))
    period_s = 1 / float(os.environ.get("RATE_HZ", "20"))
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    add(client, {"type": "Start", "data": {"title": "replayed", "frames": count}})
    began_s = time.monotonic()
    for number, frame in enumerate(draw_frames(path, count)):
        time.sleep(max(0.0, began_s + number * period_s - time.monotonic()))
        header = {
            "type": "Event",
            "metadata": {"frame": number},
            "dtype": frame.dtype.str,
            "shape": frame.shape,
        }
        add(client, header, frame.tobytes())
    add(client, {"type": "Stop", "data": {"frames": count}})


if __name__ == "__main__":
    main()
