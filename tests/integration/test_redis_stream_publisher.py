"""What is Redis's own about the publisher to streams; the contract is in tests/conformance."""

import json
import re
import shlex
import subprocess
import threading
from pathlib import Path

import pytest
import redis
from outside import DEADLINE_S, event, opened
from proxies import cutting_proxy, pausing_proxy

import arroyo.connectors
from arroyo import UnavailableError
from arroyo.connectors import RedisStreamPublisher
from arroyo.connectors.redis import stream_publisher

pytest_plugins = ["redis_server"]

PAGE = Path(arroyo.connectors.__file__).with_name("README.md").read_text()


@pytest.fixture
def server(redis_server):
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def publisher(redis_server):
    def make(**options):
        return RedisStreamPublisher("curves", **{"port": redis_server.port} | options)

    return make


def published(server):
    return [
        json.loads(fields["header"])["metadata"]["index"] for _, fields in server.xrange("curves")
    ]


def test_redis_cli_reads_what_a_chain_publishes_as_the_page_says(redis_server, publisher):
    with opened(publisher()) as curves:
        curves.publish(event(3))
        curves.flush()
    (line,) = re.findall(r"^\$ (redis-cli XRANGE .*)$", PAGE, re.MULTILINE)
    program, *arguments = shlex.split(line)
    command = [program, "-p", str(redis_server.port), *arguments]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    assert told[1::2] == ["header", "payload", ""]
    assert told[4] == "abc"
    assert json.loads(told[2]) == {
        "type": "Event",
        "run": "run-1",
        "source": "images.0",
        "sequence": 3,
        "metadata": {"index": 3},
    }


def test_a_message_whose_answer_was_lost_is_in_the_stream_once(redis_server, server, publisher):
    with opened(publisher()) as curves:
        curves.publish(event(9))  # so that the server knows the script
        curves.flush()
    with (
        cutting_proxy(redis_server.port, b"EVALSHA") as (port, cut),
        opened(publisher(port=port)) as curves,
    ):
        curves.publish(event(0))
        curves.publish(event(1))
        curves.flush()
        assert cut.is_set()
    assert published(server) == [9, 0, 1]


def test_large_messages_are_added_once_and_in_their_place(server, publisher):
    with opened(publisher()) as one, opened(publisher()) as other:
        for index in range(6):
            one.publish(event(index, bytes(200_000 * (index % 2))))
        one.flush()
        for index in (5, 1, 7):
            other.publish(event(index, bytes(200_000)))
        assert published(server) == [0, 1, 2, 3, 4, 5, 7]
    assert server.zcard("curves:published") == 7
    assert all(server.ttl(name) > 0 for name in server.scan_iter("curves:published:*"))


def test_a_large_message_that_two_replicas_add_at_once_is_there_once(
    redis_server, server, publisher
):
    with (
        opened(publisher()) as one,
        pausing_proxy(redis_server.port, b"ZSCORE") as (port, paused, go_on),
        opened(publisher(port=port)) as other,
    ):
        late = threading.Thread(target=other.publish, args=(event(0, bytes(200_000)),))
        late.start()
        assert paused.wait(DEADLINE_S)
        one.publish(event(0, bytes(200_000)))
        go_on.set()
        late.join(DEADLINE_S)
    assert published(server) == [0]


@pytest.mark.parametrize("size", [3, stream_publisher.LARGE_BYTES])
def test_the_memory_beside_a_stream_is_bounded(server, publisher, monkeypatch, size):
    monkeypatch.setattr(stream_publisher, "REMEMBERED", 50)
    with opened(publisher()) as curves:
        for index in range(300):
            curves.publish(event(index, bytes(size)))
        curves.flush()
    assert server.zcard("curves:published") == 50
    assert len(published(server)) == 300


def test_a_stream_keeps_about_as_many_entries_as_it_should(server, publisher):
    with opened(publisher(maxlen=100)) as curves:
        for index in range(1000):
            curves.publish(event(index))
        curves.flush()
    assert 100 <= server.xlen("curves") < 300
    assert published(server)[-1] == 999


def test_a_script_that_the_server_has_forgotten_is_sent_again(server, publisher):
    with opened(publisher()) as curves:
        curves.publish(event(0))
        curves.flush()
        server.script_flush()
        curves.publish(event(1))
        curves.flush()
    assert published(server) == [0, 1]


def test_a_server_without_memory_is_waited_for(server, publisher):
    with opened(publisher(retry_for_s=0.2)) as curves:
        server.config_set("maxmemory", 1)
        with pytest.raises(UnavailableError, match=r"takes nothing now .* raise its maxmemory"):
            curves.publish(event(0))
            curves.flush()
        server.config_set("maxmemory", 0)
        curves.flush()
    assert published(server) == [0]
