"""Frames from Kafka, counts to RabbitMQ: each frame is counted, though stages are killed."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pika
import pytest
from chains import ChainFolder, Program, wait_until
from spots import find_spots

pytest_plugins = ["kafka_server", "rabbitmq_server"]

SERVICE = Path(__file__).parents[2] / "services" / "spot_counts"
SERIES = range(3)
FRAMES = 120
"""Of each series."""
PROGRAM_S = 120


@pytest.fixture
def environ(kafka_server, rabbitmq_server):
    url = f"amqp://127.0.0.1:{rabbitmq_server.port}"
    return {"KAFKA_SERVERS": kafka_server.address, "RABBITMQ_URL": url}


@pytest.fixture
def chain(tmp_path, environ, monkeypatch):
    # The chain file takes them from there, also where the test looks at it.
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made = ChainFolder(tmp_path / "chain", "", name="spot_counts")
    for name in ("chain.toml", "spots.py"):
        shutil.copy(SERVICE / name, made.folder)
    yield made
    made.close()


@pytest.fixture
def show_hits(tmp_path, environ):
    program = Program([sys.executable, SERVICE / "show_hits.py"], tmp_path, os.environ | environ)
    try:
        program.wait_for("waiting for counts")
        yield program
    finally:
        program.end()
        program.close()


@pytest.fixture
def logbook(environ, show_hits):
    """A second queue at the exchange that the reader has made, for what came and how often."""
    with pika.BlockingConnection(pika.URLParameters(environ["RABBITMQ_URL"])) as connection:
        channel = connection.channel()
        channel.queue_declare("logbook", exclusive=True)
        channel.queue_bind("logbook", "counts", "spots")
        yield channel


def read(channel):
    """Every count that is in the logbook."""
    found = []
    while (answer := channel.basic_get("logbook", auto_ack=True))[0]:
        _, properties, body = answer
        assert body == b""
        found.append(json.loads(properties.headers["header"])["metadata"])
    return found


def send(environ, series):
    settings = {"FRAMES": str(FRAMES), "RATE_HZ": "1000", "SERIES": str(series)}
    program = [sys.executable, SERVICE / "send_frames.py"]
    return subprocess.Popen(program, env=os.environ | environ | settings)


def kill_at_work(chain, name):
    """Kill a replica that has had frames, or counts, while others are under way."""

    def is_at_work():
        rows = chain.status()
        return rows[name]["received"] > 0 and rows["frames.0"]["in_flight"] > 0

    wait_until(is_at_work, chain.text)
    chain.kill(name)


def test_each_frame_is_counted_though_every_stage_is_killed_once(
    chain, environ, show_hits, logbook
):
    senders = [send(environ, series) for series in SERIES]
    assert [sender.wait(PROGRAM_S) for sender in senders] == [0] * len(SERIES)
    chain.supervise()
    # The listener first: what it is given again would make up for what others lose before that.
    for name in ("frames.0", "spots.1", "counts.0"):
        kill_at_work(chain, name)
    for series in SERIES:
        show_hits.wait_for(f"series {series}: {FRAMES} of {FRAMES} frames, {FRAMES // 3} hits")
    counts = read(logbook)
    assert {(each["series"], each["frame"]) for each in counts} == set(
        itertools.product(SERIES, range(FRAMES))
    )
    assert all(abs(each["spots"] - each["drawn"]) <= 2 for each in counts)
    assert chain.command("quarantine", "list", chain.path, "--json") == "[]\n"


def test_spots_are_found_in_a_frame_of_any_size_beside_masked_pixels():
    image = np.random.default_rng(1).poisson(20, (70, 45)).astype("<u2")
    image[:, 20:22] = np.iinfo(image.dtype).max  # between two modules
    image[68:70, 43:45] = 200  # at the corner, two by two alike
    image[10, 10], image[10, 12], image[30, 22] = 300, 400, 500
    assert sorted(find_spots(image, sigmas=8).tolist()) == [200, 300, 400, 500]
