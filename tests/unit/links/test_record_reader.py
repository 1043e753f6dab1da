import pytest
import zmq

from arroyo.codec import PROTOCOL_VERSION, Batch, Hello, Kind, Open, encode_record
from arroyo.identifiers import ReplicaName
from arroyo.links.link_events import BackRecordReceived, DataReceived, SubscriptionConfirmed
from arroyo.links.record_reader import RECORDS_AT_ONCE, RecordReader

ABOVE, BELOW = ReplicaName("count", 0), ReplicaName("write", 0)
OPEN = Open(PROTOCOL_VERSION, *ABOVE, incarnation=7, link=1)
HELLO = Hello(PROTOCOL_VERSION, *BELOW, incarnation=9)
BATCH = Batch(str(ABOVE), 1, 0, Kind.EVENTS, "run", str(ABOVE), 1, 0, 0, 0)


@pytest.fixture
def reader():
    rejected = []
    made = RecordReader([ABOVE], [BELOW], rejected.append)
    made.rejected = rejected
    return made


@pytest.fixture
def pair():
    """A connected pair of sockets: what goes into the first comes out of the second."""
    with (
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
        context.socket(zmq.PULL) as pull,
    ):
        pull.bind("inproc://pair")
        push.connect("inproc://pair")
        yield push, pull


def test_data_comes_with_its_frames(reader, pair):
    push, pull = pair
    push.send(encode_record(OPEN))
    push.send_multipart([encode_record(BATCH), b"body", b"payload"])
    opened, batch = reader.read_data(pull)
    assert opened == DataReceived(OPEN, [])
    assert batch.record == BATCH
    assert [bytes(frame) for frame in batch.frames] == [b"body", b"payload"]
    assert all(frame.readonly for frame in batch.frames)


def test_a_batch_without_a_body_is_rejected_and_the_next_record_taken(reader, pair):
    push, pull = pair
    push.send(encode_record(BATCH))
    push.send(encode_record(OPEN))
    assert list(reader.read_data(pull)) == [DataReceived(OPEN, [])]
    assert [str(error) for error in reader.rejected] == ["a batch came without its body"]


def test_answers_of_those_below_are_taken_and_of_no_others(reader, pair):
    push, pull = pair
    push.send(encode_record(Hello(PROTOCOL_VERSION, "nobody", 0, incarnation=9)))
    push.send(encode_record(HELLO))
    assert list(reader.read_back(pull)) == [BackRecordReceived(HELLO)]
    assert str(reader.rejected[0]).startswith("Hello of nobody.0, which is no stage below this one")


def test_a_flood_is_read_in_portions(reader, pair):
    push, pull = pair
    for _ in range(RECORDS_AT_ONCE + 1):
        push.send(encode_record(HELLO))
    assert [len(list(reader.read_back(pull))) for _ in range(2)] == [RECORDS_AT_ONCE, 1]


def test_the_first_record_of_a_subscription_says_that_it_stands(reader):
    with zmq.Context() as context, context.socket(zmq.XPUB) as publication:
        publication.bind("inproc://publication")
        with context.socket(zmq.SUB) as subscriber:
            subscriber.subscribe(b"")
            subscriber.connect("inproc://publication")
            assert publication.poll(5000)
            publication.send(encode_record(OPEN))
            assert subscriber.poll(5000)
            assert list(reader.read_data(subscriber)) == [SubscriptionConfirmed(ABOVE)]
