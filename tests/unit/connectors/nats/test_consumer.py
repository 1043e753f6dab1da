import pytest
from nats.aio.msg import Msg

from arroyo.connectors.nats.consumer import FIRST_COUNT, ConsumerGoneError, DurableConsumer


class Session:
    """A connection on which only requests for messages are counted."""

    def __init__(self):
        self.requests = 0

    def begin(self, coroutine):
        coroutine.close()
        self.requests += 1


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def consumer(session):
    made = DurableConsumer(session, "frames", "frames", "chain")
    made.arrive = made._arrived.put
    return made


def message(sequence, number, prefix="$JS.ACK"):
    reply = f"{prefix}.frames.chain-a.1.{sequence}.{number}.0.0"
    return Msg(None, subject="frames", reply=reply, data=b"x")


def test_messages_come_with_their_sequence_in_the_stream(session, consumer):
    consumer.arrive(message(7, 1))
    consumer.arrive(message(9, 2, prefix="$JS.ACK.domain.account"))
    assert [consumer.take()[0] for _ in range(2)] == [7, 9]
    assert session.requests == 1


def test_a_message_that_another_reader_took_away_is_missed(consumer):
    consumer.arrive(message(7, 2))
    with pytest.raises(ConsumerGoneError, match="message 1 of the consumer is missing"):
        consumer.take()


def test_more_are_asked_for_when_half_have_come(session, consumer):
    for number in range(1, FIRST_COUNT // 2 + 2):
        consumer.arrive(message(number, number))
        consumer.take()
    assert session.requests == 2


def test_a_consumer_that_was_deleted_is_told_of(consumer):
    consumer.arrive(Msg(None, headers={"Status": "503"}))
    with pytest.raises(ConsumerGoneError, match="it was deleted"):
        consumer.take()


def test_who_waits_can_be_woken(consumer):
    consumer.wake()
    assert consumer.take() is None
