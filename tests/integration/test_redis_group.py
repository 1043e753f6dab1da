"""One consumer of a group, against a real server."""

from itertools import chain

import pytest
import redis

from arroyo.connectors.redis.group import GroupConsumer

pytest_plugins = ["redis_server"]


@pytest.fixture
def client(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def consumer(client):
    def make(name):
        made = GroupConsumer(client, "frames", "chain", name)
        made.make_group(existing=True)
        return made

    return make


def add(client, count, size_bytes=1):
    return [client.xadd("frames", {"payload": bytes(size_bytes)}).decode() for _ in range(count)]


def read_all(consumer):
    parts = []
    while part := consumer.read(0.001):
        parts.append([entry.id for entry in part])
    return parts


def test_small_entries_are_read_many_at_a_time_and_large_ones_few(client, consumer):
    taker = consumer("take.0")
    small = add(client, 500)
    parts = read_all(taker)
    assert [*chain.from_iterable(parts)] == small
    assert max(map(len, parts)) == 100
    large = add(client, 120, size_bytes=300_000)
    first, *parts = read_all(taker)
    assert [*first, *chain.from_iterable(parts)] == large
    assert max(map(len, parts)) == 3
    taker.acknowledge([*small, *large])
    # Small ones in between don't make it forget at once.
    add(client, 1)
    add(client, 8, size_bytes=300_000)
    assert max(map(len, read_all(taker))) == 3


def test_pending_entries_are_listed_until_they_are_acknowledged(client, consumer):
    ids = add(client, 1500)
    taker = consumer("take.0")
    read_all(taker)
    assert taker.list_pending() == ids
    taker.acknowledge(ids[:1200])
    assert taker.list_pending() == ids[1200:]


def test_reading_again_changes_nothing_and_names_what_is_gone(client, consumer):
    ids = add(client, 30)
    taker = consumer("take.0")
    read_all(taker)
    client.xdel("frames", *ids[3:5])
    found = list(taker.read_again(ids))
    assert [entry.id for part in found for entry in part.entries] == [*ids[:3], *ids[5:]]
    assert [entry for part in found for entry in part.gone] == ids[3:5]
    assert taker.list_pending() == ids


def test_only_a_silent_consumer_is_claimed_from(client, consumer):
    ids = add(client, 3)
    read_all(consumer("take.0"))
    other = consumer("take.1")
    assert list(other.claim(3600.0)) == []
    assert [entry.id for part in other.claim(0.0) for entry in part.entries] == ids
    assert other.list_pending() == ids
    assert consumer("take.0").list_pending() == []


def test_a_consumer_leaves_unless_something_is_pending(client, consumer):
    add(client, 1)
    taker = consumer("take.0")
    (part,) = read_all(taker)
    taker.leave()
    assert len(client.xinfo_consumers("frames", "chain")) == 1
    taker.acknowledge(part)
    taker.leave()
    assert client.xinfo_consumers("frames", "chain") == []
