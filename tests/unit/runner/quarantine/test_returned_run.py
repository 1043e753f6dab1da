import pytest
from batches import make_batch
from unit.protocol.model import chain, listener, operator, publisher
from user_calls import current_message

from arroyo.codec import MessageCodec, Returned
from arroyo.messages import Event, Start, Stop
from arroyo.runner.quarantine.returned_run import ReturnedRun
from arroyo.runner.user_code.operator_call import OperatorCall
from arroyo.runner.user_code.publisher_call import PublisherCall

CODEC = MessageCodec(())
CHAIN = chain(listener("src"), operator("work", "src"), publisher("out", "work"))
START, STOP = CODEC.pack(Start({"gain": 2})), CODEC.pack(Stop({"totals": {"sent": 3}}))


class Recorder:
    def __init__(self):
        self.seen = []

    def publish(self, message):
        self.seen.append((message, message.origin))


class Marker:
    def process(self, message):
        message.data["marked"] = True
        return message


def batch_with(start=START, stop=STOP):
    returned = Returned("old", 1, 4, 1, (), start, stop)
    return make_batch(ranges=((57, 58),), path=1, returned=returned)


def test_a_publisher_hears_the_start_before_and_the_stop_after_with_the_old_run():
    publisher = Recorder()
    run = ReturnedRun(
        CODEC, PublisherCall(CHAIN.stages["out"], publisher, current_message()).control
    )
    batch = batch_with()
    assert run.end(run.begin(batch)) == batch
    messages = [message for message, _ in publisher.seen]
    assert messages == [Start({"gain": 2}), Stop({"totals": {"sent": 3}})]
    origins = {(origin.run, origin.source, origin.sequence) for _, origin in publisher.seen}
    assert origins == {("old", "src.0", -1)}


def test_what_an_operator_makes_of_them_goes_on():
    run = ReturnedRun(
        CODEC, OperatorCall(CHAIN.stages["work"], Marker(), CODEC, current_message()).control
    )
    returned = run.end(run.begin(batch_with())).returned
    assert CODEC.unpack(returned.start) == Start({"gain": 2, "marked": True})
    assert CODEC.unpack(returned.stop).data["marked"]


def test_a_run_that_is_open_or_has_no_start_is_not_begun_again():
    publisher = Recorder()
    run = ReturnedRun(
        CODEC, PublisherCall(CHAIN.stages["out"], publisher, current_message()).control
    )
    for batch in (batch_with(b"", b""), make_batch()):
        assert run.end(run.begin(batch)) == batch
    assert publisher.seen == []


@pytest.mark.parametrize("stop", [b"", b"\xc1", START])
def test_a_stop_that_nobody_knows_or_can_read_is_a_plain_one(stop):
    publisher = Recorder()
    run = ReturnedRun(
        CODEC, PublisherCall(CHAIN.stages["out"], publisher, current_message()).control
    )
    run.end(run.begin(batch_with(stop=stop)))
    assert publisher.seen[-1][0] == Stop()


def test_events_have_the_origin_that_they_had_then():
    from arroyo.protocol.values.deliveries import origins_of

    message = Event()
    message._origin = origins_of(batch_with())(57, ((0, 2),))
    assert message.origin == ("old", "src.0", 1, 4, 1, ((0, 2),))
    assert message.key == "src.0/old/4.0@1"
