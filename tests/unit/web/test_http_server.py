import asyncio
import gc
import resource
import socket
import threading
from contextlib import suppress
from http import HTTPStatus

import pytest

from arroyo.config.http_address import HttpAddress
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.web import http_server
from arroyo.web.http_request import HEAD_BYTES, Answer, Later, Stream
from arroyo.web.http_server import HttpServer

ASK = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LOOPBACK = HttpAddress("127.0.0.1", 0)


def echo(request):
    return Answer(HTTPStatus.OK, f"here is {request.path}".encode())


def serving(use, answering=echo, **options):
    """Run a server, and `use(port)` beside it; return what that returns."""

    async def run():
        until, told = asyncio.Event(), asyncio.get_running_loop().create_future()
        server = HttpServer(LOOPBACK, answering, **options)
        running = asyncio.create_task(server.run(until, told.set_result))
        try:
            return await use((await told).port)
        finally:
            until.set()
            await running

    return asyncio.run(run())


async def connect(port, request=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer


async def ask(port, request=ASK):
    reader, writer = await connect(port, request)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_request_is_answered_and_the_connection_ended():
    answer = serving(ask)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhere is /metrics")


def test_a_head_gets_no_body():
    answer = serving(lambda port: ask(port, ASK.replace(b"GET", b"HEAD")))
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (ASK.replace(b"127.0.0.1", b"evil.example"), 421),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (ASK[:-2] + b"X: " + b"x" * HEAD_BYTES + b"\r\n\r\n", 431),
        (b"x" * (2 * HEAD_BYTES), 431),
    ],
)
def test_what_is_refused_never_comes_to_whoever_answers(request_, status):
    def answering(request):
        pytest.fail(f"was asked {request}")

    answer = serving(lambda port: ask(port, request_), answering)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_who_says_nothing_more_is_sent_away_in_time():
    assert serving(lambda port: ask(port, b"GET /metrics HT"), client_timeout_s=0.05) == b""


def test_who_takes_no_answer_is_sent_away_in_time():
    size = 50_000_000

    async def use(port):
        reader, writer = await connect(port, ASK)
        await ask(port)
        writer.transport.pause_reading()
        await asyncio.sleep(0.2)
        writer.transport.resume_reading()
        try:
            return len(await reader.read())
        except ConnectionResetError:
            return 0
        finally:
            writer.close()

    def answering(_):
        return Answer(HTTPStatus.OK, bytes(size))

    assert serving(use, answering, client_timeout_s=0.05) < size


def test_of_too_many_that_do_nothing_the_oldest_make_room():
    async def use(port):
        idle = [await connect(port) for _ in range(http_server.CLIENTS + 3)]
        answer = await ask(port)
        gone = [await reader.read() for reader, _ in idle[:4]]
        for _, writer in idle:
            writer.close()
        return answer, gone

    answer, gone = serving(use)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert gone == [b""] * 4


def test_one_request_is_answered_at_a_time():
    lock = threading.Lock()

    def answering(request):
        assert lock.acquire(blocking=False)
        threading.Event().wait(0.01)
        lock.release()
        return Answer(HTTPStatus.OK, b"")

    async def use(port):
        return await asyncio.gather(*[ask(port) for _ in range(5)])

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in serving(use, answering))


ORDER = (
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 8\r\n\r\n"
)


def echo_body(request):
    return Answer(HTTPStatus.OK, b"ordered " + request.body)


def test_an_order_comes_with_its_body_where_orders_are_taken():
    async def use(port):
        reader, writer = await connect(port, ORDER + b"1234")
        await ask(port)
        writer.write(b"5678 and more")
        answer = await reader.read()
        writer.close()
        return answer

    answer = serving(use, echo_body, takes_orders=True)
    assert answer.endswith(b"\r\n\r\nordered 12345678")
    refused = serving(lambda port: ask(port, ORDER + b"12345678"), echo_body)
    assert refused.startswith(b"HTTP/1.1 405 ")


def test_who_does_not_say_all_of_an_order_is_sent_away_in_time():
    options = {"takes_orders": True, "client_timeout_s": 0.05}
    assert serving(lambda port: ask(port, ORDER + b"1234"), echo_body, **options) == b""


def test_others_are_answered_while_an_answer_takes_its_time():
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow():
        begun.set()
        await gate.wait()
        return Answer(HTTPStatus.OK, b"late")

    def answering(request):
        return Later(slow) if request.path == "/slow" else echo(request)

    async def use(port):
        late = asyncio.create_task(ask(port, ASK.replace(b"/metrics", b"/slow")))
        await begun.wait()
        other = await ask(port)
        gate.set()
        return other, await late

    other, late = serving(use, answering)
    assert other.endswith(b"here is /metrics")
    assert late.endswith(b"late")


@pytest.mark.logs_errors("metrics can't be answered")
@pytest.mark.parametrize("kind", [KeyError, FileNotFoundError])
@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "later"])
def test_a_defect_is_answered_and_told_with_its_traceback(kind, is_late, caplog):
    error = kind("x")

    async def fail():
        raise error

    def answering(request):
        if request.path != "/metrics":
            return echo(request)
        if is_late:
            return Later(fail)
        raise error

    async def use(port):
        return await ask(port), await ask(port, ASK.replace(b"/metrics", b"/"))

    failed, other = serving(use, answering)
    assert failed.startswith(b"HTTP/1.1 500 ")
    assert b"a defect of Arroyo" in failed
    assert other.endswith(b"here is /")
    (said,) = caplog.records
    assert said.getMessage() == "/metrics can't be answered"
    assert said.exc_info[1] is error


class Ticks:
    """A stream of chunks, and how many of them are open."""

    def __init__(self, chunk=b"tick\n"):
        self.chunk = chunk
        self.open = 0

    def __call__(self, request):
        return Stream(self.chunks, "text/event-stream")

    async def chunks(self):
        self.open += 1
        try:
            while True:
                yield self.chunk
                await asyncio.sleep(0.001)
        finally:
            self.open -= 1


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_stream_goes_on_until_its_client_leaves():
    ticks = Ticks()

    async def use(port):
        reader, writer = await connect(port, ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        assert [await reader.readline() for _ in range(50)] == [b"tick\n"] * 50
        assert ticks.open == 1
        writer.close()
        await until(lambda: not ticks.open)
        return head

    head = serving(use, ticks)
    assert b"\r\nContent-Type: text/event-stream\r\n" in head
    assert b"Content-Length" not in head


def test_a_server_that_ends_ends_its_streams():
    ticks = Ticks()

    async def use(port):
        client = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))
        client.sendall(ASK)
        await until(lambda: ticks.open)
        return client

    with serving(use, ticks):
        assert ticks.open == 0


def test_whoever_does_not_read_a_stream_is_sent_away_in_time():
    ticks = Ticks(bytes(1_000_000))

    async def use(port):
        reader, writer = await connect(port, ASK)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await until(lambda: ticks.open)
        await until(lambda: not ticks.open)
        writer.close()

    serving(use, ticks, client_timeout_s=0.05)


def test_streams_are_bounded_and_others_are_answered_all_the_same():
    ticks = Ticks()

    def answering(request):
        return ticks(request) if request.path == "/metrics" else echo(request)

    async def use(port):
        streams = [await connect(port, ASK) for _ in range(3)]
        for reader, _ in streams:
            await reader.readuntil(b"tick\n")
        refused = await ask(port)
        other = await ask(port, ASK.replace(b"/metrics", b"/"))
        head = await ask(port, ASK.replace(b"GET", b"HEAD"))
        for _, writer in streams:
            writer.close()
        return refused, other, head

    refused, other, head = serving(use, answering, streams=3)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"pages are open already" in refused
    assert other.startswith(b"HTTP/1.1 200 ")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"tick" not in head


def test_a_stream_goes_on_among_a_thousand_sockets():
    async def use(port):
        reader, writer = await connect(port, ASK)
        await reader.readuntil(b"tick\n")
        others = [await connect(port) for _ in range(1000)]
        await until(lambda: sum(not each.at_eof() for each, _ in others) <= http_server.CLIENTS)
        for _ in range(5):
            assert await reader.readline() == b"tick\n"
        for _, each in (*others, (reader, writer)):
            each.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        serving(use, Ticks())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def listen(address):
    await HttpServer(address, echo).run(asyncio.Event(), print)


def test_a_port_that_is_in_use_may_become_free():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port} is in use"):
            asyncio.run(listen(HttpAddress("127.0.0.1", port)))


def test_an_address_that_is_not_of_this_host_is_a_mistake():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:80 can't be listened on"):
        asyncio.run(listen(HttpAddress("192.0.2.1", 80)))


@pytest.mark.parametrize("turns", range(8))
def test_who_comes_while_the_server_ends_is_sent_away(turns):
    clients = []

    async def run():
        until, told = asyncio.Event(), asyncio.get_running_loop().create_future()
        server = asyncio.create_task(HttpServer(LOOPBACK, echo).run(until, told.set_result))
        port = (await told).port
        clients.append(socket.create_connection(("127.0.0.1", port)))
        for _ in range(turns):
            await asyncio.sleep(0)
        until.set()
        await server

    asyncio.run(run())
    gc.collect()  # a transport that nobody closed complains when it is collected
    (client,) = clients
    with client, suppress(ConnectionResetError):
        assert client.recv(1) == b""
