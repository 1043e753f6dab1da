"""Ways to a server that a test can cut or hold up, for protocols of request and answer."""

import select
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

DEADLINE_S = 60.0


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


class Gate:
    """A way to a server that can be shut, so that the server can finish what it was asked before.

    Its port stays the same when it is opened again.
    """

    def __init__(self, server_port):
        self._server_port = server_port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._door.close()
        self._is_open = False
        self._clients = []

    def open(self):
        self._is_open = True
        self._door = socket.create_server(("127.0.0.1", self.port))
        _start(self._serve, self._door, name=f"gate at {self.port}")

    def shut(self):
        """Take no more, and answer no more; connections stay as they are until `cut`."""
        self._is_open = False
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def cut(self):
        """End the connections that there were."""
        while self._clients:
            with suppress(OSError):
                self._clients.pop().shutdown(socket.SHUT_RDWR)

    def _serve(self, door):
        with suppress(OSError):
            while True:
                _start(self._carry, door.accept()[0])

    def _carry(self, client):
        with (
            suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._server_port)) as server,
        ):
            self._clients.append(client)
            other = {client: server, server: client}
            while True:
                for source in select.select([client, server], [], [])[0]:
                    if not (data := source.recv(1 << 20)):
                        return
                    if self._is_open:
                        other[source].sendall(data)


def _start(work, *arguments, name=None):
    threading.Thread(target=work, args=arguments, name=name, daemon=True).start()


@contextmanager
def tls_door(certificates):
    """A door that speaks TLS, to a server that can't; yields its port and a function that opens it.

    The function gets the server's port: who has to know the door's port before it starts can be
    told.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)

    def carry(source, target):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def welcome(client, port):
        with (
            suppress(OSError),  # of a client that does not trust it, too
            client,
            context.wrap_socket(client, server_side=True) as safe,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            _start(carry, server, safe)
            carry(safe, server)

    def serve(port):
        with suppress(OSError):
            while True:
                _start(welcome, door.accept()[0], port)

    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door.getsockname()[1], lambda port: _start(serve, port)
        door.shutdown(socket.SHUT_RDWR)


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
