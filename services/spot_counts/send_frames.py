"""Send a series of drawn diffraction frames to the Kafka topic `frames`, as a detector would.

It knows nothing of Arroyo but the format of a record (arroyo/connectors/WIRE_FORMAT.md).
Usage: python send_frames.py
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from numpy.typing import NDArray

TOPIC = "frames"
SIDE = 512
GRID = 32
"""Spots lie in squares of so many pixels, at most one in each, so that none hides another."""
SPOT_COUNTS = 400.0


def draw_frame(number: int) -> tuple[NDArray[np.uint16], int]:
    """Return a frame and the number of its spots: in every third one a crystal was hit."""
    random = np.random.default_rng(number)
    distance = np.hypot(*np.meshgrid(*[np.arange(SIDE) - SIDE / 2] * 2))
    expected = 2 + 30 * np.exp(-distance / 100)  # scattered by solvent and air
    squares = (SIDE // GRID) ** 2
    count = int(random.integers(20, 60)) if number % 3 == 0 else 0
    for square in random.choice(squares, count, replace=False):
        corner = np.array(divmod(square, SIDE // GRID)) * GRID
        row, column = corner + random.integers(4, GRID - 4, 2)
        across = np.arange(-3, 4)
        profile = np.exp(-(across**2) / 2)
        height = SPOT_COUNTS * random.uniform(0.5, 2)
        expected[row - 3 : row + 4, column - 3 : column + 4] += height * np.outer(profile, profile)
    return random.poisson(expected).astype(np.uint16), count


def make_topic(servers: str) -> None:
    """Make the topic, if it is not there."""
    client = AdminClient({"bootstrap.servers": servers})
    try:
        client.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def main() -> None:
    """Send the frames of a series at their rate."""
    servers = os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092")
    frames = int(os.environ.get("FRAMES", "300"))
    period_s = 1 / float(os.environ.get("RATE_HZ", "20"))
    series = int(os.environ.get("SERIES", time.time()))
    make_topic(servers)
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    began_s = time.monotonic()
    for number in range(frames):
        image, drawn = draw_frame(number)
        header: dict[str, Any] = {
            "type": "Event",
            "metadata": {"series": series, "frame": number, "frames": frames, "drawn": drawn},
            "dtype": image.dtype.str,
            "shape": image.shape,
        }
        time.sleep(max(0.0, began_s + number * period_s - time.monotonic()))
        producer.produce(TOPIC, image.tobytes(), headers=[("header", json.dumps(header))])
    producer.flush()
    print(f"series {series}: {frames} frames sent")


if __name__ == "__main__":
    main()
