import contextlib
import os
import selectors
import socket
import stat
import threading
import time

import pytest
from answering_loop import Loop, loop

from arroyo.control.request_server import CLIENTS, PLACE_S, RequestServer
from arroyo.control.requests import CLIENT_TIMEOUT_S, request
from arroyo.errors import UnavailableError, UsageError

__all__ = ["loop"]


def test_an_answer_knows_the_target_and_who_asks(loop, tmp_path):
    answers = {"restart": lambda asked: [asked.target, asked.number, asked.by]}
    me = f"pid {os.getpid()}, uid {os.getuid()}"
    other = Loop(tmp_path / "other", answers)
    with contextlib.closing(other), other.turning():
        assert request(other.path, "restart", "work.0") == ["work.0", 0, me]
        assert request(other.path, "restart", "work", 3) == ["work", 3, me]
        with pytest.raises(UsageError, match="not a request"):
            request(other.path, "restart", "x" * 81)
        with pytest.raises(UsageError, match="not a request"):
            request(other.path, "restart", "work", -1)


def test_what_an_answer_refuses_is_told(tmp_path):
    def refuse(asked):
        raise UsageError(f"there is no {asked.target}")

    loop = Loop(tmp_path / "control", {"restart": refuse})
    with contextlib.closing(loop), loop.turning(), pytest.raises(UsageError, match="no work"):
        request(loop.path, "restart", "work")


def test_an_order_whose_client_has_given_up_is_not_carried_out_late(tmp_path):
    asked = []
    loop = Loop(tmp_path / "control", {"stop": asked.append})
    with contextlib.closing(loop):
        with pytest.raises(UnavailableError, match="no answer to 'stop'"):
            request(loop.path, "stop", timeout_s=0.05)
        client = loop.connect()
        client.sendall(b'{"verb": "stop", "target": "work"}\n')
        client.shutdown(socket.SHUT_WR)  # this one still reads
        while not asked:
            loop.turn(1.0)
        client.close()
    assert [order.target for order in asked] == ["work"]


def test_an_unknown_verb_is_refused_with_those_there_are(loop):
    with loop.turning(), pytest.raises(UsageError, match="'exec'; there are long, status"):
        request(loop.path, "exec")


def test_the_socket_is_its_users_alone_and_goes_with_the_server(loop):
    assert stat.S_IMODE(loop.path.stat().st_mode) == 0o600
    loop.server.close()
    assert not loop.path.exists()
    loop.server = RequestServer(loop.path, loop.selector, {}, lambda: 0.0)


def test_what_a_killed_predecessor_left_is_replaced(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control"))
    left.close()
    loop = Loop(tmp_path / "control", {"status": lambda _: 1})
    with contextlib.closing(loop), loop.turning():
        assert request(loop.path, "status") == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"verb": 1}\n',
        b'{"verb": "status", "path": "/etc"}\n',
        b'{"verb": "status"\n',
        b'{"verb": "set", "values": {"a": ' + b"[" * 1900 + b"]" * 1900 + b"}}\n",
    ],
)
def test_what_is_no_request_gets_a_sentence(loop, sent):
    with contextlib.closing(loop.connect()) as client:
        client.sendall(sent)
        turn_until(loop, client)
        assert client.recv(1000).startswith(b'{"error":"this is not a request')


def test_a_request_without_an_end_is_cut_off(loop):
    with contextlib.closing(loop.connect()) as client:
        loop.turn()
        client.sendall(b"x" * 5000)
        loop.turn()
        loop.turn()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(b"x")
            client.recv(1)


def test_a_client_that_says_nothing_holds_up_nobody_and_is_let_go(loop):
    with contextlib.closing(loop.connect()) as silent:
        loop.turn()
        assert loop.server.next_at == CLIENT_TIMEOUT_S
        with loop.turning():
            assert request(loop.path, "status") == {"state": "READY"}
        loop.now = CLIENT_TIMEOUT_S
        loop.server.expire()
        assert loop.server.next_at is None
        assert silent.recv(1) == b""


def test_a_client_that_does_not_read_holds_up_nobody(loop):
    with contextlib.closing(loop.connect()) as deaf:
        deaf.sendall(b'{"verb":"long"}\n')
        with loop.turning():
            assert request(loop.path, "status") == {"state": "READY"}


def test_clients_beyond_the_bound_wait_for_a_place(loop):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(loop.connect())) for _ in range(CLIENTS)]
        late = stack.enter_context(contextlib.closing(loop.connect()))
        late.sendall(b'{"verb":"status"}\n')
        for _ in range(CLIENTS + 2):
            loop.turn()
        with pytest.raises(BlockingIOError):
            late.recv(1)
        clients[5].sendall(b'{"verb":"status"}\n')
        turn_until(loop, clients[5])
        turn_until(loop, late)
        assert late.recv(100) == b'{"reply":{"state":"READY"}}\n'


def test_silent_clients_lose_their_places_to_those_that_wait(loop):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(loop.connect())) for _ in range(CLIENTS)]
        late = stack.enter_context(contextlib.closing(loop.connect()))
        late.sendall(b'{"verb":"status"}\n')
        for _ in range(CLIENTS):
            loop.turn()
        assert loop.server.next_at == PLACE_S
        loop.now = PLACE_S
        loop.server.expire()
        assert clients[0].recv(1) == b""
        turn_until(loop, late)
        assert late.recv(100) == b'{"reply":{"state":"READY"}}\n'


def test_thousands_of_requests_at_once_are_all_answered(loop):
    start = threading.Barrier(201)
    failures = []

    def ask_ten_times():
        start.wait()
        for _ in range(10):
            try:
                assert request(loop.path, "status", timeout_s=60) == {"state": "READY"}
            except UnavailableError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask_ten_times) for _ in range(200)]
    for thread in threads:
        thread.start()
    with loop.turning():
        start.wait()
        for thread in threads:
            thread.join()
    assert not failures


def turn_until(loop, client):
    deadline = time.monotonic() + 5
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        while not selector.select(0):
            assert time.monotonic() < deadline
            loop.turn(0.01)
