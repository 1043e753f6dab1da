import http.client
import os
import signal
import threading

from arroyo.config.http_address import HttpAddress
from arroyo.metrics.serving import serve


def ask(sentence):
    """Ask for the health at the address that a sentence names."""
    host = sentence.partition("http://")[2].partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def serve_until(end, path, address, lifeline=None):
    """Serve; have `end` called once somebody was answered. Return what was said."""
    said, answered = [], []

    def use():
        answered.append(ask(said[0]))
        end()

    def say(sentence):
        said.append(sentence)
        if len(said) == 1:
            threads.append(threading.Thread(target=use))
            threads[0].start()

    threads = []
    serve(path, HttpAddress.parse(address), os.environ, say, lifeline)
    threads[0].join()
    assert answered == [503]  # the chain does not run
    return said


def test_where_it_serves_is_said(small_chain):
    (said,) = serve_until(lambda: os.kill(os.getpid(), signal.SIGTERM), small_chain, "127.0.0.1:0")
    assert said.startswith("serving chain small at http://127.0.0.1:")


def test_the_death_of_its_supervisor_ends_it(small_chain):
    lifeline, ours = os.pipe()
    try:
        serve_until(lambda: os.close(ours), small_chain, "127.0.0.1:0", lifeline)
    finally:
        os.close(lifeline)


def test_that_others_can_read_the_figures_is_said(small_chain):
    # It is loopback, in a form that is not known to be.
    _, warning = serve_until(lambda: os.kill(os.getpid(), signal.SIGTERM), small_chain, "127.1:0")
    assert warning.startswith("warning: whoever can reach 127.1:")
