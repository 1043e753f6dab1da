import http.client
import os
import signal
import threading
from http import HTTPStatus

import pytest

from arroyo.config.http_address import HttpAddress
from arroyo.web.http_request import Answer
from arroyo.web.http_server import HttpServer
from arroyo.web.serving import announcing, serve


def serve_until(end, lifeline=None):
    """Serve; have `end` called once somebody was answered. Return what was answered."""
    answered, threads = [], []

    def use(address):
        connection = http.client.HTTPConnection(str(address), timeout=60)
        connection.request("GET", "/")
        answered.append(connection.getresponse().read())
        connection.close()
        end()

    def listening(address):
        threads.append(threading.Thread(target=use, args=(address,)))
        threads[0].start()

    server = HttpServer(HttpAddress("127.0.0.1", 0), lambda _: Answer(HTTPStatus.OK, b"here"))
    serve(server, listening, lifeline)
    threads[0].join()
    return answered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number):
    assert serve_until(lambda: os.kill(os.getpid(), number)) == [b"here"]


def test_the_death_of_its_supervisor_ends_it():
    lifeline, ours = os.pipe()
    try:
        assert serve_until(lambda: os.close(ours), lifeline) == [b"here"]
    finally:
        os.close(lifeline)


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_people_are_told_the_address_and_who_else_reaches_it(host, warnings):
    said = []
    announcing(said.append, lambda address: f"at {address}")(HttpAddress(host, 8470))
    assert said[0] == f"at {host}:8470"
    assert [line.startswith("warning: ") for line in said[1:]] == [True] * warnings
