"""Ways to a server that a test can cut or hold up, for protocols of request and answer."""

import select
import socket
import threading
from contextlib import contextmanager, suppress

DEADLINE_S = 10.0


@contextmanager
def proxy(port, passes):
    """A way to the server; `passes(request, answer)` says whether the connection goes on."""
    threads = []

    def carry(client):
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            while asked := client.recv(1 << 20):
                server.sendall(asked)
                # Of a large request this may be a part, which has no answer yet.
                if select.select([server, client], [], [])[0][0] is not server:
                    continue
                told = server.recv(1 << 20)
                if not passes(asked, told):
                    return
                client.sendall(told)

    def serve():
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                threads.append(threading.Thread(target=carry, args=(client,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threads.append(threading.Thread(target=serve))
        threads[0].start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@contextmanager
def cutting_proxy(port, request, answer=b""):
    """A way to the server that is cut once, before such an answer to such a request comes back."""
    cut = threading.Event()

    def passes(asked, told):
        if cut.is_set() or request not in asked or answer not in told:
            return True
        cut.set()
        return False

    with proxy(port, passes) as door:
        yield door, cut


@contextmanager
def pausing_proxy(port, request):
    """A way to the server on which the answer to such a request waits until it may go on."""
    paused, go_on = threading.Event(), threading.Event()

    def wait(asked, told):
        if request in asked:
            paused.set()
            go_on.wait(DEADLINE_S)
        return True

    with proxy(port, wait) as door:
        yield door, paused, go_on
