from arroyo.codec import Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Outbox, Reply

FIRST, SECOND = (Reply(ReplicaName("a", number), Lost("b", 0)) for number in (0, 1))


def test_actions_come_out_in_the_order_they_were_asked_for_and_once():
    outbox = Outbox()
    outbox.emit(FIRST)
    outbox.emit(SECOND)
    assert outbox.take() == [FIRST, SECOND]
    assert outbox.take() == []


def test_what_is_taken_does_not_change_any_more():
    outbox = Outbox()
    outbox.emit(FIRST)
    taken = outbox.take()
    outbox.emit(SECOND)
    assert taken == [FIRST]
