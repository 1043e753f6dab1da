"""Well-formed records that somebody else sends to the sockets of a live chain."""

from pathlib import Path

import pytest
import zmq
from chains import indices, listener, publisher, wait_until
from outside import free_port

from arroyo.codec import PROTOCOL_VERSION, Ack, Hello, Lost, Open, Suspect, encode_record
from arroyo.identifiers import ReplicaName

COUNT, WRITE = ReplicaName("count", 0), ReplicaName("write", 0)
NAMES = [ReplicaName("nobody", 0), ReplicaName("listen", 7), ReplicaName("write", 7)]
MANY = 300


@pytest.fixture
def stranger():
    context = zmq.Context()

    def send(address, records):
        with context.socket(zmq.PUSH) as socket:
            socket.connect(address)
            for record in records:
                socket.send(encode_record(record))
            socket.linger = 5000

    yield send
    context.term()


def opens():
    for version in (PROTOCOL_VERSION, PROTOCOL_VERSION + 1):
        yield from (Open(version, *name, 1, 1) for name in NAMES)
        yield from (Open(version, "count", 1 + number, number, number) for number in range(MANY))


def answers():
    for name in NAMES:
        yield Hello(PROTOCOL_VERSION, *name, 1)
        yield Suspect(*name, 1, "count.0", 1, 0, "died of nothing")
        yield Lost(*name)
        yield Ack(*name, "count.0", 1, 0, ((0, 1000),))
    yield from (Hello(PROTOCOL_VERSION, "write", 1 + number, number) for number in range(MANY))


@pytest.mark.parametrize("by_tcp", [False, True])
def test_strangers_are_counted_and_change_nothing(make_chain, stranger, by_tcp):
    port = free_port()
    listen = f'listen = "tcp://127.0.0.1:{port}"' if by_tcp else ""
    chain = make_chain(
        listener("count", events=20, pause_at=0), publisher("write", ["count"], keys=listen)
    )
    supervisor = chain.supervise()
    chain.wait_until_ready()
    pids, files = chain.pids(), open_files(chain, "write.0")
    stranger(
        f"tcp://127.0.0.1:{port}" if by_tcp else chain.run_directory.address("in", WRITE), opens()
    )
    stranger(chain.run_directory.address("back", COUNT), answers())
    wait_until(lambda: chain.status()["write.0"]["errors"] >= len(list(opens())), chain.text)
    wait_until(lambda: chain.status()["count.0"]["errors"] >= len(list(answers())), chain.text)
    assert chain.pids() == pids
    assert open_files(chain, "write.0") <= files + 1
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert indices(chain.lines()) == list(range(20))


def open_files(chain, name):
    return len(list(Path(f"/proc/{chain.pids()[name]}/fd").iterdir()))
