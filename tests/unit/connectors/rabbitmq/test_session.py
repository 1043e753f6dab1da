"""A session with what is no RabbitMQ server."""

import socket
import threading
from contextlib import contextmanager

import pytest

from arroyo import UnavailableError
from arroyo.connectors.rabbitmq.client import Server
from arroyo.connectors.rabbitmq.session import Session


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
