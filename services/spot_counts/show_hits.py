"""Show the hit rate of each series whose counts come to the RabbitMQ exchange `counts`.

It stands for whatever wants to know: a beamline's control, its logbook. It knows nothing of Arroyo
but the format of a message. Usage: python show_hits.py
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict

import pika

EXCHANGE, QUEUE = "counts", "show_hits"
EVERY = 50
"""A line after so many frames, and at the end of a series."""


def main() -> None:
    """Print lines until it is interrupted."""
    url = os.environ.get("RABBITMQ_URL", "amqp://127.0.0.1:5672")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        # Both outlive this program: what comes while it is away, it gets when it is back.
        channel.queue_declare(QUEUE, durable=True)
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_bind(QUEUE, EXCHANGE, "spots")
        print("waiting for counts; Ctrl-C ends it", flush=True)
        hits: dict[int, dict[int, bool]] = defaultdict(dict)
        for method, properties, _ in channel.consume(QUEUE):
            counts = json.loads(properties.headers["header"])["metadata"]
            series = hits[counts["series"]]
            if counts["frame"] not in series:  # a frame that comes twice counts once
                series[counts["frame"]] = counts["hit"]
                if len(series) % EVERY == 0 or len(series) == counts["frames"]:
                    show(counts["series"], series, counts["frames"])
            # A logbook would write it down first.
            channel.basic_ack(method.delivery_tag)


def show(number: int, series: dict[int, bool], frames: int) -> None:
    """Print how far a series is."""
    hits = sum(series.values())
    print(f"series {number}: {len(series)} of {frames} frames, {hits} hits", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
