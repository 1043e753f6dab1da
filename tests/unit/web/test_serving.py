import http.client
import os
import signal
import threading
from http import HTTPStatus

import pytest

from arroyo.config.http_address import HttpAddress
from arroyo.web.http_request import Answer
from arroyo.web.http_server import HttpServer
from arroyo.web.serving import serve


def serve_until(end, lifeline=None, host="127.0.0.1"):
    """Serve; have `end` called once somebody was answered. Return what was answered and said."""
    answered, said, threads = [], [], []

    def use():
        connection = http.client.HTTPConnection(said[0], timeout=60)
        connection.request("GET", "/")
        answered.append(connection.getresponse().read())
        connection.close()
        end()

    def say(sentence):
        said.append(sentence)
        if len(said) == 1:
            threads.append(threading.Thread(target=use))
            threads[0].start()

    server = HttpServer(HttpAddress(host, 0), lambda _: Answer(HTTPStatus.OK, b"here"))
    serve(server, say, str, lifeline=lifeline)
    threads[0].join()
    assert answered == [b"here"]
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number):
    (address,) = serve_until(lambda: os.kill(os.getpid(), number))
    assert address.startswith("127.0.0.1:")


def test_the_death_of_its_supervisor_ends_it():
    lifeline, ours = os.pipe()
    try:
        serve_until(lambda: os.close(ours), lifeline)
    finally:
        os.close(lifeline)


def test_people_are_told_who_else_reaches_an_address():
    # It is loopback, in a form that is not known to be.
    _, warning = serve_until(lambda: os.kill(os.getpid(), signal.SIGTERM), host="127.1")
    assert warning.startswith("warning: ")
