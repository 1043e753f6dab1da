"""Redis streams through chains of processes: replicas that share one, and what the server loses."""

import json
import shutil
import signal

import pytest
import redis
from chains import DEADLINE_S, kill, listener, operator, publisher, wait_until

pytest_plugins = ["redis_server"]

SOON = 'backoff_s = "10 ms"'
KEYS = "[supervisor]\nmax_restarts = 1000\nchain_max_restarts = 1000\n"


@pytest.fixture
def server(redis_server):
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


def add(server, first, end, kind="Event"):
    with server.pipeline() as pipeline:
        for index in range(first, end):
            header = {"type": kind}
            if kind == "Event":
                header["metadata"] = {"index": index, "filename": str(index)}
            pipeline.xadd("frames", {"header": json.dumps(header)})
        return pipeline.execute()


def take(port, keys=""):
    return listener(
        "take",
        "arroyo.connectors:RedisStreamListener",
        keys=f"{SOON}\n{keys}",
        stream="frames",
        group="chain",
        port=port,
    )


def give(port, inputs, keys=""):
    table = listener(
        "give",
        "arroyo.connectors:RedisStreamPublisher",
        keys=f'inputs = ["{inputs}"]\n{SOON}\n{keys}',
        stream="curves",
        port=port,
        retry_for_s=0.5,
    )
    return table.replace("listener =", "publisher =")


def published(server):
    headers = [json.loads(fields["header"]) for _, fields in server.xrange("curves")]
    return [header["metadata"]["index"] for header in headers if header["type"] == "Event"]


def test_replicas_share_a_stream_and_each_message_is_there_once(server, redis_server, make_chain):
    chain = make_chain(
        take(redis_server.port, "replicas = 2"),
        operator("work", "Pass", ["take"], every_s=0.001, keys=SOON),
        give(redis_server.port, "work", "replicas = 2"),
        keys=KEYS,
    )
    add(server, 0, 600)
    program = chain.supervise()
    for turn, name in enumerate(["take.0", "take.1", "give.0", "give.1"]):
        wait_until(lambda turn=turn: server.xlen("curves") > 100 * turn, chain.text)
        wait_until(lambda name=name: name in chain.pids(), chain.text)
        chain.kill(name)
    add(server, 600, 1000)
    wait_until(lambda: len(set(published(server))) == 1000, chain.text)
    wait_until(lambda: server.xpending("frames", "chain")["pending"] == 0, chain.text)
    program.send(signal.SIGINT)
    assert program.wait() == 0, chain.text()
    assert sorted(published(server)) == list(range(1000))
    consumers = server.xinfo_consumers("frames", "chain")
    assert sorted(each["name"][:7] for each in consumers) == ["take.0-", "take.1-"]


def test_entries_that_were_trimmed_in_flight_are_named_in_the_stop(
    server, redis_server, make_chain
):
    chain = make_chain(
        take(redis_server.port),
        operator("work", "Gate", ["take"], at="5", keys=SOON),
        publisher("write", ["work"], keys='order = "source"'),
        keys=KEYS,
    )
    add(server, 0, 1, "Start")
    ids = add(server, 0, 20)
    add(server, 0, 1, "Stop")
    program = chain.supervise()
    wait_until((chain.folder / "waiting").exists, chain.text)
    wait_until(lambda: chain.status()["take.0"]["sent"] >= 20, chain.text)
    pids = chain.pids()
    server.xdel("frames", *ids[7:10])
    for victim in ("take.0", "work.0"):
        kill(pids[victim])
    chain.open_gate()
    wait_until(lambda: any(line["type"] == "Stop" for line in chain.lines()), chain.text)
    program.send(signal.SIGINT)
    assert program.wait() == 1, chain.text()
    lines = chain.lines()
    indices = [line["metadata"]["index"] for line in lines if line["type"] == "Event"]
    assert indices == [index for index in range(20) if index not in (7, 8, 9)]
    (stop,) = [line["data"] for line in lines if line["type"] == "Stop"]
    assert (stop["totals"]["lost"], stop["totals"]["complete"]) == (3, False)
    missing = [place for first, end in stop["totals"]["missing"] for place in range(first, end)]
    assert missing == [7, 8, 9]
    assert server.xpending("frames", "chain")["pending"] == 0


@pytest.mark.logs_errors("takes nothing now .*No space left on device.*make room on its disk")
def test_a_chain_waits_while_the_disk_of_the_server_is_full(redis_program, small_disk, make_chain):
    from redis_server import RedisServer  # a plugin above, so not before that

    disk = small_disk(1024)
    server = RedisServer(redis_program, disk, fsync="everysec")
    server.start()
    try:
        chain = make_chain(
            listener("count", "Count", events=300, size_bytes=1000, every_s=0.001),
            give(server.port, "count"),
            keys=KEYS,
        )
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 50_000))
        program = chain.supervise()
        words = "takes nothing now"
        wait_until(
            lambda: words in (chain.status()["give.0"]["reason"] or ""), chain.text, 2 * DEADLINE_S
        )
        ballast.unlink()
        assert program.wait(2 * DEADLINE_S) == 0, chain.text()
        with redis.Redis(
            port=server.port, decode_responses=True, encoding_errors="replace"
        ) as client:
            assert sorted(published(client)) == list(range(300))
    finally:
        server.stop()
