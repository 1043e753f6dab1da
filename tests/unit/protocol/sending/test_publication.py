from __future__ import annotations

from arroyo.codec import Batch, End, Kind
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.inbound_links import InboundLinks
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.values.actions import Outbox
from arroyo.protocol.values.batches import OutgoingBatch


def batch(count, kind=Kind.EVENTS, run="r"):
    header = Batch("", 0, 0, kind, run, "s.0", 1, 0, 0, 0, ranges=((0, count),))
    return OutgoingBatch(header, list(range(count)), count)


class Published(Publication):
    """A publication, and what it has asked for."""

    def __init__(self):
        self.outbox = Outbox()
        super().__init__(ReplicaName("p", 0), lambda: 7, self.outbox.emit)


def send(publication, *args):
    publication.send(batch(*args))
    (action,) = publication.outbox.take()
    return action.record


def make():
    return Published()


def test_each_batch_says_how_many_messages_came_before_it():
    publication = make()
    records = [send(publication, count) for count in (3, 1, 5)]
    assert [each.number for each in records] == [0, 3, 4]
    assert {(each.sender, each.link, each.reliable) for each in records} == {("p.0", 7, False)}


def test_a_subscriber_counts_exactly_what_it_missed():
    publication, senders = make(), InboundLinks({"p.0": True})
    for position, count in enumerate((2, 3, 1, 4)):
        record = send(publication, count)
        if position not in (1, 2):
            senders.takes(record, count)
    assert senders.dropped == 4


def test_open_runs_are_told_again_and_closed_ones_are_not():
    publication = make()
    send(publication, 1, Kind.START, "one")
    send(publication, 1, Kind.START, "two")
    send(publication, 1, Kind.STOP, "one")
    publication.repeat_starts()
    assert [action.record.run for action in publication.outbox.take()] == ["two"]


def test_the_end_says_whether_it_is_for_good():
    publication = make()
    publication.end(final=False)
    assert [action.record for action in publication.outbox.take()] == [End("p.0", 7, final=False)]
