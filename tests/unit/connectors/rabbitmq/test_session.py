"""A session with what is no RabbitMQ server."""

import socket
import threading
from contextlib import contextmanager

import pytest
from pika.frame import Heartbeat

from arroyo import UnavailableError
from arroyo.connectors.rabbitmq.client import Server
from arroyo.connectors.rabbitmq.session import Session, _Connection


@contextmanager
def hanging_up(answer=b""):
    """A server that says one thing, if any, and ends each connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve():
            client, _ = door.accept()
            with client:
                client.recv(8)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"amqp://127.0.0.1:{door.getsockname()[1]}"
        thread.join()


def session(url):
    server = Server("Test", url, None, (None, None, None))
    return Session(server, lambda channel: None, lambda: None, 10.0)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_hangs_up_is_away_and_refuses_nobody(answer):
    with hanging_up(answer) as url:
        made = session(url)
        with pytest.raises(UnavailableError, match="can't be reached"):
            made.open()
        made.close()


def test_nothing_is_done_where_there_is_no_connection():
    done = []
    made = session("amqp://127.0.0.1:1")
    made.call(lambda: done.append(1))
    made.close()
    assert done == []


class Reader:
    """Reads a number of bytes, and says what it was told to say."""

    def __init__(self, size, goes_on):
        self.said = size, goes_on

    def read(self, data):
        return self.said


@pytest.mark.parametrize(("goes_on", "next_frame"), [(True, type(None)), (False, Heartbeat)])
def test_pika_reads_what_a_reader_leaves_to_it_and_counts_all(goes_on, next_frame):
    connection = _Connection.__new__(_Connection)
    connection._frame_buffer, connection.bytes_received = b"12345" + Heartbeat().marshal(), 0
    connection.reader = Reader(5, goes_on)
    _, found = connection._read_frame()
    assert type(found) is next_frame
    assert connection.bytes_received == 5
