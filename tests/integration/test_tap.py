"""`arroyo tap` beside a chain that runs: what it shows, and that the chain takes no notice."""

import json
import signal
import zlib

import msgspec
import numpy as np
from chains import listener, operator, publisher, wait_until

from arroyo import Event
from arroyo.codec import MessageCodec, decode_data
from arroyo.connectors.synthetic import SyntheticListener
from arroyo.durable.frames import unpack_file
from arroyo.durable.recording import RECORDING, RecordedMessage, RecordingHead

EVENTS = 1_000_000
"""More than a test waits for."""
SHAPE = [128, 64]  # 16 KiB: in shared memory
IMAGES = "arroyo.connectors.synthetic:SyntheticListener"


def arrays(events):
    """What the listener makes, by index."""
    made = RecordingOperator()
    source = SyntheticListener(made, events=events, shape=SHAPE)
    source.open()
    source.start()
    return [message.array for message in made.messages if isinstance(message, Event)]


class RecordingOperator:
    def __init__(self):
        self.messages = []

    def process(self, message):
        self.messages.append(message)


def make(make_chain):
    chain = make_chain(
        listener("images", IMAGES, events=EVENTS, rate_hz=600, shape=SHAPE),
        operator("keep", "Filter", ["images"], modulus=3, keys="replicas = 2"),
        publisher("write", ["keep"]),
    )
    supervisor = chain.supervise()
    chain.wait_until_ready()
    return chain, supervisor


def tap(chain, *arguments):
    shown = chain.command("tap", "numbers", *arguments, "--rate", "20", "--json")
    return [json.loads(line) for line in shown.splitlines()]


def end(chain, supervisor):
    """Stop the chain; what was published is what the listener made, each third of it.

    Returns the arrays that it made.
    """
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0
    (stop,) = [line for line in chain.lines() if line["type"] == "Stop"]
    made = arrays(stop["data"]["events"])
    events = [line for line in chain.lines() if line["type"] == "Event"]
    assert sorted(line["metadata"]["index"] for line in events) == list(range(0, len(made), 3))
    assert all(line["crc"] == zlib.crc32(made[line["metadata"]["index"]]) for line in events)
    return made


def test_what_is_shown_is_what_passes_and_the_chain_takes_no_notice(make_chain, tmp_path):
    chain, supervisor = make(make_chain)
    recording = tmp_path / "keep.rec"
    shown = {
        "images": tap(chain, "images", "-n", "4"),
        "keep": tap(chain, "keep", "-n", "6", "--save", recording),
        "write": tap(chain, "write.0", "-n", "4"),
    }
    made = end(chain, supervisor)
    published = {line["key"]: line for line in chain.lines()}
    for stage, messages in shown.items():
        for message in messages:
            array = made[message["metadata"]["index"]]
            assert (message["dtype"], message["shape"]) == ("<u2", SHAPE)
            assert message["payload_bytes"] == array.nbytes
            assert (message["min"], message["max"]) == (array.min(), array.max())
            assert np.isclose(message["mean"], array.mean())
            if stage != "images":
                assert published[message["key"]]["metadata"] == message["metadata"]
    assert {message["replica"] for message in shown["keep"]} == {"keep.0", "keep.1"}
    require_recorded(recording, shown["keep"], made)
    assert list((chain.run_directory.path / "tap").iterdir()) == []


def require_recorded(path, shown, made):
    """The recording has what was shown, with its header."""
    head, *bodies = unpack_file(path.read_bytes(), RECORDING, path).bodies
    assert msgspec.msgpack.decode(head, type=RecordingHead).stage == "keep"
    recorded = [msgspec.msgpack.decode(body, type=RecordedMessage) for body in bodies]
    assert [each.replica for each in recorded] == [each["replica"] for each in shown]
    for message, fields in zip(recorded, shown, strict=True):
        event = MessageCodec().unpack(message.message)
        assert event.metadata == fields["metadata"]
        assert np.array_equal(event.array, made[event.metadata["index"]])
        [(sequence, _)] = decode_data(message.header).ranges
        assert sequence - decode_data(message.header).base == fields["sequence"]


def test_a_tap_that_is_stopped_or_killed_harms_nobody(make_chain):
    chain, supervisor = make(make_chain)
    stopped, killed = (
        chain.start("arroyo", "tap", "numbers", stage, "--rate", "20")
        for stage in ("images", "keep.0")
    )
    stopped.wait_for("images.0  Event")
    stopped.send(signal.SIGSTOP)
    killed.wait_for("keep.0  Event")
    killed.kill()
    file = chain.run_directory.path / "tap" / "keep.0"
    wait_until(lambda: file.stat().st_size == 0)
    assert tap(chain, "keep.0", "-n", "1")  # the place is free again
    end(chain, supervisor)


def test_a_tap_goes_on_when_its_replica_has_been_replaced(make_chain):
    chain, supervisor = make(make_chain)
    tapping = chain.start("arroyo", "tap", "numbers", "keep.0", "--rate", "20")
    tapping.wait_for("keep.0  Event")
    chain.kill("keep.0")
    wait_until(lambda: chain.status()["keep.0"]["restarts"] == 1)
    tapping.wait_for("keep.0  Event", len(tapping.lines) + 2)
    end(chain, supervisor)
    assert tapping.wait() == 0
    assert "keep.0 of chain numbers has ended" in tapping.text
