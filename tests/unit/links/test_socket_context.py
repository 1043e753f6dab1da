import pytest
import zmq

from arroyo.errors import ConfigurationError
from arroyo.links.socket_context import PUBLICATION_MESSAGES, SocketContext


@pytest.fixture
def context():
    made = SocketContext()
    yield made
    made.close(0)


@pytest.mark.parametrize(
    ("kind", "limit"), [(zmq.PUSH, 0), (zmq.PULL, 0), (zmq.XPUB, PUBLICATION_MESSAGES)]
)
def test_only_publications_drop_messages(context, kind, limit):
    with context.socket(kind) as socket:
        assert socket.sndhwm == limit


def test_closing_leaves_no_socket_and_no_file(context, tmp_path):
    socket = context.bind(zmq.PULL, f"ipc://{tmp_path}/data")
    assert (tmp_path / "data").exists()
    context.close(0)
    assert socket.closed
    assert not (tmp_path / "data").exists()


def test_a_subscriber_gets_what_is_published(context, tmp_path):
    address = f"ipc://{tmp_path}/publication"
    with (
        context.bind(zmq.XPUB, address) as publication,
        context.subscribe("write.0", [address]) as subscriber,
    ):
        for words in (b"\x01", b"\x01write.0"):
            assert publication.poll(5000)
            assert publication.recv() == words
        publication.send(b"news")
        assert subscriber.poll(5000)
        assert subscriber.recv() == b"news"


def test_an_address_that_can_not_be_bound_is_told_in_words(context, tmp_path):
    address = f"ipc://{tmp_path}/no/such/folder"
    with pytest.raises(ConfigurationError) as error:
        context.bind(zmq.PULL, address)
    assert str(error.value).startswith(f"{address} can't be bound: No such file or directory")
