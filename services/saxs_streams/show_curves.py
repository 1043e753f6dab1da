"""Show the curves in the Redis stream `curves` as they come, until their run ends.

It knows nothing of Arroyo but the format of an entry. Usage: python show_curves.py
"""

from __future__ import annotations

import json
import os

import numpy as np
import redis


def main() -> None:
    """Print a line for each entry."""
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    last = "0"
    while True:
        reply = client.xread({"curves": last}, count=100, block=1000)
        for entry, fields in reply[0][1] if reply else ():
            last = entry
            header = json.loads(fields[b"header"])
            if header["type"] == "Event":
                curve = np.frombuffer(fields[b"payload"], header["dtype"]).reshape(header["shape"])
                intensity, deviation = np.nanmean(curve, axis=1)
                number = header["metadata"]["frame"]
                print(f"frame {number}: I = {intensity:.4g} +- {deviation:.2g} on average")
            elif header["type"] == "Stop":
                print(f"the run has ended: {json.dumps(header['data'])}")
                return
            else:
                print(f"a run begins, {len(header['data']['Q'])} bins")


if __name__ == "__main__":
    main()
