"""What goes to the server is what pika would send."""

import pika
import pytest

from arroyo.connectors.rabbitmq.frames import CALL_BYTES, MessageFrames, joined, write_properties

FRAME_BYTES = 4096
PART_BYTES = FRAME_BYTES - 8


class Recorder(pika.connection.Connection):
    """Keeps what pika would send."""

    def __init__(self):
        self._body_max_length = PART_BYTES
        self.sent = b""

    def _output_marshaled_frames(self, marshaled_frames):
        self.sent += b"".join(marshaled_frames)

    _adapter_add_callback_threadsafe = _adapter_call_later = _adapter_connect_stream = None
    _adapter_disconnect_stream = _adapter_emit_data = _adapter_remove_timeout = None


def by_pika(channel, place, header, message_id, body):
    recorder = Recorder()
    properties = pika.BasicProperties(
        headers={"header": header.decode()}, message_id=message_id, delivery_mode=2
    )
    exchange, routing_key, mandatory = place
    method = pika.spec.Basic.Publish(
        exchange=exchange, routing_key=routing_key, mandatory=mandatory
    )
    recorder._send_message(channel, method, (properties, body))
    return recorder.sent


@pytest.mark.parametrize(
    "size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 5]
)
@pytest.mark.parametrize("place", [("", "frames", True), ("det", "é" * 60, False)])
def test_a_message_is_what_pika_makes_of_it(size, place):
    header, message_id, body = '{"type": "Größe"}'.encode(), "images.0/run/12", bytes(range(251))
    body = (body * (size // 251 + 1))[:size]
    exchange, routing_key, mandatory = place
    frames = MessageFrames(258, FRAME_BYTES, exchange, routing_key, mandatory=mandatory)
    sent = b"".join(frames.write(write_properties(header, message_id), body))
    assert sent == by_pika(258, place, header, message_id, body)


def test_frames_are_joined_to_parts_that_the_system_takes():
    frames = [bytes([number]) * 30_000 for number in range(5)] + [bytes(10 * CALL_BYTES), b"x"]
    parts = joined(frames)
    assert b"".join(parts) == b"".join(frames)
    assert [len(part) for part in parts] == [90_000, 60_000 + 10 * CALL_BYTES, 1]
    assert joined([]) == []
