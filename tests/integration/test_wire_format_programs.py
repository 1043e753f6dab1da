"""The programs of WIRE_FORMAT.md in Python and JavaScript, against the ZeroMQ connectors."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from chains import wait_until
from installed import require
from outside import DEADLINE_S, Recorder, opened, running

from arroyo.connectors import ZMQListener, ZMQPubSubPublisher
from arroyo.messages import Event, Origin, Start, Stop

# Made by scripts/test.
MODULES = Path(__file__).parents[2] / ".venv" / "node" / "node_modules"


@pytest.fixture(params=["python", "js"])
def program(request, tmp_path):
    """Starts one of the page's programs, the one that sends or reads; each is ended afterwards."""
    language = request.param
    if language == "js":
        require(_what_node_misses())
        (tmp_path / "node_modules").symlink_to(MODULES)
    name, interpreter = {"python": ("program.py", sys.executable), "js": ("program.mjs", "node")}[
        language
    ]
    started = []

    def start(heading, address):
        file = tmp_path / name
        file.write_text(program_of(heading, language))
        started.append(
            subprocess.Popen([interpreter, file, address], stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _what_node_misses():
    if shutil.which("node") is None:
        return "node is not installed"
    if not (MODULES / "zeromq").exists():
        return f"there is no zeromq for node in {MODULES}; scripts/test installs it"
    return ""


def program_of(heading, language):
    page = files("arroyo.connectors").joinpath("WIRE_FORMAT.md").read_text("utf-8")
    pattern = rf"^## {heading} in \w+\n[^#]*?```{language}\n(.*?)^```$"
    (found,) = re.findall(pattern, page, re.DOTALL | re.MULTILINE)
    return found


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_sender_feeds_a_listener(program):
    address = f"tcp://127.0.0.1:{free_port()}"
    recorder = Recorder()
    with running(ZMQListener(recorder, address)):
        program("A sender", address)
        wait_until(lambda: len(recorder.messages) == 5, lambda: f"{recorder.messages}")
    start, *events, stop = recorder.messages
    assert isinstance(start, Start)
    assert start.data["sample"] == "AgBeh"
    assert [event.metadata["frame"] for event in events] == [0, 1, 2]
    assert [event.array.sum() for event in events] == [0, 24, 48]
    assert isinstance(stop, Stop)


def test_the_reader_reads_a_publisher(program):
    with opened(ZMQPubSubPublisher(f"tcp://127.0.0.1:{free_port()}")) as publisher:
        reader = program("A reader", publisher.address)
        stop_publishing = threading.Event()

        def publish_runs():
            # A subscriber misses what is sent before it is connected, so runs are repeated.
            while not stop_publishing.wait(0.05):
                for message in run_of_two():
                    publisher.publish(message)

        publishing = threading.Thread(target=publish_runs)
        publishing.start()
        try:
            output, _ = reader.communicate(timeout=DEADLINE_S)
        finally:
            stop_publishing.set()
            publishing.join()
    lines = output.splitlines()
    assert reader.returncode == 0
    assert lines[-1].split() == ["Stop", "r1"]
    assert {"Event r1 0", "Event r1 1"} <= {line.strip() for line in lines}
    assert "2x3 15" in lines


def run_of_two():
    image = np.arange(6, dtype="<f4").reshape(2, 3)
    messages = [Start(), Event.from_array(image), Event.from_array(image), Stop()]
    for sequence, message in enumerate(messages, start=-1):
        number = sequence if isinstance(message, Event) else -1
        message._origin = Origin("r1", "camera.0", 1, number)
    return messages
