import http.client
import os
import signal
import threading

from arroyo.config.http_address import HttpAddress
from arroyo.dashboard.serving import serve


def test_where_the_page_is_and_who_can_read_it_is_said(small_chain):
    said, got = [], []

    def use():
        host, token = said[0].partition("http://")[2].split()[0].split("/#")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", "/stream", headers={"Authorization": f"Bearer {token}"})
        got.append(connection.getresponse().readline())
        os.kill(os.getpid(), signal.SIGTERM)  # with the stream open
        connection.close()

    def say(sentence):
        said.append(sentence)
        if len(said) == 1:
            threads.append(threading.Thread(target=use))
            threads[0].start()

    threads = []
    # It is loopback, in a form that is not known to be.
    serve(small_chain, HttpAddress.parse("127.1:0"), os.environ, say)
    threads[0].join()
    assert got[0].startswith(b'data: {"chain":"small","head":"chain small: not running')
    assert said[0].startswith("chain small is shown at http://127.1:")
    assert said[1].startswith("warning: whoever sees what travels to 127.1:")
