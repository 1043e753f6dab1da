import socket

from arroyo.control.ports_in_use import read_ports_in_use


def test_a_port_is_in_use_as_long_as_something_listens_on_it():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert port not in read_ports_in_use(), "bound, but nobody could connect"
        server.listen()
        assert port in read_ports_in_use()
    assert port not in read_ports_in_use()
