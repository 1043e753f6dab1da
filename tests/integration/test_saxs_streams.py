"""The demo's reduction between two streams: right curves, each once, though stages are killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import redis
import report
from chains import ChainFolder, wait_until
from saxs_images import write_image

pytest_plugins = ["redis_server"]

SERVICE = Path(__file__).parents[2] / "services" / "saxs_streams"
FRAMES = 60


@pytest.fixture
def server(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def environ(redis_server, tmp_path):
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_server.port}/0",
        "SAXS_IMAGE": str(write_image(tmp_path / "image.h5")),
        "FRAMES": str(FRAMES),
        "RATE_HZ": "60",
    }


@pytest.fixture
def chain(tmp_path, environ):
    made = ChainFolder(tmp_path / "chain", "", name="saxs_streams")
    shutil.copy(SERVICE / "chain.toml", made.path)
    made.environ |= environ
    yield made
    made.close()


def run(program, environ):
    return subprocess.run(
        [sys.executable, SERVICE / program],
        env=os.environ | environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_each_frame_becomes_one_curve_and_they_are_right(server, chain, environ, monkeypatch):
    # The chain file takes them from there, also where the test looks at it.
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    chain.supervise()
    chain.wait_until_ready()
    run("send_frames.py", environ | {"FRAMES": str(FRAMES // 2)})
    for name in ("frames.0", "average.1", "curves.0"):
        chain.kill(name)
    run("send_frames.py", environ)
    count = FRAMES // 2 + FRAMES + 4  # two runs with their Start and Stop
    wait_until(lambda: server.xlen("curves") >= count, chain.text)
    wait_until(lambda: server.xpending("frames", "reduction")["pending"] == 0, chain.text)
    entries = [fields for _, fields in server.xrange("curves")]
    assert len(entries) == count
    headers = [json.loads(fields[b"header"]) for fields in entries]
    assert [header["type"] for header in headers[-FRAMES - 2 :]] == [
        "Start",
        *["Event"] * FRAMES,
        "Stop",
    ]
    frames = [header["metadata"]["frame"] for header in headers if header["type"] == "Event"]
    assert frames == [*range(FRAMES // 2), *range(FRAMES)]
    curves = np.array(
        [
            np.frombuffer(fields[b"payload"], header["dtype"]).reshape(header["shape"])
            for header, fields in zip(headers, entries, strict=True)
            if header["type"] == "Event"
        ][-FRAMES:]
    )
    start = headers[-FRAMES - 2]["data"]
    q, edges = np.array(start["Q"]), np.array(start["Q_edges"])
    series = report.Series("", FRAMES, q, edges, curves[:, 0], curves[:, 1])
    direct = report.average_directly(Path(environ["SAXS_IMAGE"]), edges)
    assert report.compare(series, direct).holds
    assert server.xlen("frames") <= 31, "the sender trims what is finished"


def test_a_plain_program_shows_the_curves(chain, environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    chain.supervise()
    run("send_frames.py", environ | {"FRAMES": "3"})
    first, *frames, last = run("show_curves.py", environ).splitlines()
    assert first == "a run begins, 150 bins"
    assert [line.partition(":")[0] for line in frames] == ["frame 0", "frame 1", "frame 2"]
    assert '"sent": 3' in last
    assert '"complete": true' in last
