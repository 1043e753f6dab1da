"""The durable consumer of one listener: its position, whatever has died in between."""

import pytest

from arroyo.connectors.nats import consumer as nats_consumer
from arroyo.connectors.nats.consumer import ConsumerGoneError, DurableConsumer
from arroyo.connectors.nats.session import NATSSession

pytest_plugins = ["nats_server"]


@pytest.fixture
def session(nats_server):
    session = NATSSession("Test", nats_server.url)
    session.open()
    yield session
    session.close()


@pytest.fixture
def frames(program):
    """A stream of 20 messages."""
    program.make("frames", "frames")
    program.send("frames", [(None, bytes([index])) for index in range(20)])


def make(session):
    return DurableConsumer(session, "frames", "frames", "chain")


def take(consumer, count):
    """Take messages, and return their sequences."""
    taken = []
    while len(taken) < count:
        if found := consumer.take():
            taken.append(found[0])
    return taken


def add(program, name, finished):
    """Make a consumer as a former life has, at such a position."""
    program.do(
        lambda js: js._jsm.add_consumer(
            "frames",
            name=name,
            durable_name=name,
            ack_policy="all",
            filter_subject="frames",
            deliver_policy="by_start_sequence",
            opt_start_seq=finished + 1,
        )
    )


def names(program):
    return [consumer.name for consumer in program.consumers("frames")]


def test_it_begins_behind_what_the_life_before_had_acknowledged(session, program, frames):
    first = make(session)
    assert first.renew(None, existing=True) == 0
    replies = []
    while len(replies) < 5:
        if found := first.take():
            replies.append(found[1].reply)
    first.acknowledge(replies[:3])
    second = make(session)
    assert second.renew(None, existing=True) == 3
    assert take(second, 17) == list(range(4, 21))
    assert len(names(program)) == 1


def test_it_begins_behind_what_the_listener_knows_to_be_finished(session, frames):
    consumer = make(session)
    assert consumer.renew(7, existing=True) == 7
    assert take(consumer, 1) == [8]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_what_a_life_left_that_died_while_it_made_a_new_one_does_no_harm(
    session, program, frames, first, second
):
    add(program, f"chain-{first}", 3)
    add(program, f"chain-{second}", 5)
    consumer = make(session)
    assert consumer.renew(None, existing=True) == 5
    assert take(consumer, 2) == [6, 7]
    assert len(names(program)) == 1


def test_what_another_reader_takes_away_is_noticed_and_read_again(session, program, frames):
    consumer = make(session)
    consumer.renew(None, existing=True)
    (name,) = names(program)

    async def steal(js):
        subscription = await js.pull_subscribe_bind(name, "frames")
        await subscription.fetch(1)

    program.do(steal)
    with pytest.raises(ConsumerGoneError, match="message 1 of the consumer is missing"):
        take(consumer, 1)
    consumer.renew(0, existing=True)
    assert take(consumer, 20) == list(range(1, 21))


def test_a_consumer_that_is_deleted_is_noticed(session, program, frames):
    consumer = make(session)
    consumer.renew(None, existing=True)
    take(consumer, 20)
    (name,) = names(program)
    program.do(lambda js: js._jsm.delete_consumer("frames", name))
    with pytest.raises(ConsumerGoneError):
        take(consumer, 1)


def test_no_more_is_on_its_way_than_may_wait_in_memory(session, program, monkeypatch):
    monkeypatch.setattr(nats_consumer, "READ_BYTES", 40_000)
    program.make("frames", "frames")
    program.send("frames", [(None, bytes(10_000))] * 100)
    consumer = make(session)
    consumer.renew(None, existing=True)
    take(consumer, 50)
    (seen,) = program.consumers("frames")
    assert 50 <= seen.delivered.consumer_seq <= 54
