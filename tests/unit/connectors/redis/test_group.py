import pytest
from redis.exceptions import ResponseError

from arroyo.connectors.redis.group import READ_BYTES, GroupConsumer


class Server:
    """Answers as a server does that has one stream, whose entries are all of one size."""

    def __init__(self, size=1, group_error=None):
        self.size = size
        self.group_error = group_error
        self.counts = []
        self.groups = []

    def xgroup_create(self, stream, group, begin, *, mkstream):
        self.groups.append((stream, group, begin))
        if self.group_error:
            raise ResponseError(self.group_error)

    def xreadgroup(self, group, name, streams, *, count, block):
        self.counts.append(count)
        return [("frames", [(b"5-1", {b"payload": bytes(self.size)})])]


def consumer(server):
    return GroupConsumer(server, "frames", "chain", "frames.0")


@pytest.mark.parametrize(("existing", "begin"), [(True, "0"), (False, "$")])
def test_a_new_group_begins_where_it_is_told_to(existing, begin):
    server = Server()
    consumer(server).make_group(existing=existing)
    assert server.groups == [("frames", "chain", begin)]


def test_a_group_that_is_there_is_joined():
    consumer(Server(group_error="BUSYGROUP it exists")).make_group(existing=True)
    with pytest.raises(ResponseError):
        consumer(Server(group_error="WRONGTYPE")).make_group(existing=True)


@pytest.mark.parametrize(("size", "counts"), [(1, [10, 20, 40]), (READ_BYTES // 2, [10, 2, 2])])
def test_how_many_are_read_at_once_follows_their_size(size, counts):
    server = Server(size)
    reading = consumer(server)
    assert [reading.read(1.0)[0].id for _ in counts] == ["5-1"] * 3
    assert server.counts == counts
