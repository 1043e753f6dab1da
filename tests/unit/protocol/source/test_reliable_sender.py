"""A sender that only sends what a test hands it: what it hears from below, and what comes again."""

import pytest
from batches import make_batch
from unit.protocol.below import make_context, make_downstream

from arroyo.codec import Ack, Batch, Bye, Credit, End, Hello, Lost, Open, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.loss_policy import Redeliver
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.source.redelivery import GRACE_S, STALL_S
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.source import Source
from arroyo.protocol.source.suspects import DEATHS
from arroyo.protocol.values.actions import Connect, Outbox, PutInQuarantine, Release, Transmit
from arroyo.protocol.values.batches import OutgoingBatch

NAME, BELOW = ReplicaName("s", 0), ReplicaName("b", 0)


class Nothing:
    """A sequencer that lets nothing go; counts how often it is asked."""

    epoch, through, start_item, asked = 1, False, None, 0

    def next(self):
        self.asked += 1

    def behind_start(self, batch):
        return (batch,)


class Sending(Source):
    """Sends batches of two as a test says."""

    def __init__(self, *, links=True):
        outbox = Outbox()
        downstream = make_downstream(NAME, outbox, push_pull=links, expected=[BELOW])
        context, recovery = make_context(NAME, downstream, outbox), RecoveryPolicy()
        sender = ReliableSender(
            context,
            Nothing(),
            Ledger(context.terminals),
            loss=Redeliver(),
            recovery=recovery,
        )
        super().__init__(sender, recovery, context.history, outbox)

    @property
    def asked(self):
        return self._sequencer.asked

    def ship(self, now=0.0, **fields):
        first = self.ledger.next
        header = make_batch(sender="s.0", source="s.0", ranges=((first, first + 2),), **fields)
        tokens = [f"token {first}", f"token {first + 1}"]
        self._sender.send(OutgoingBatch(header, [b"a", b"b"], 2), tokens, now)
        return self._outbox.take()

    def hear(self, record, now=0.0):
        return self.record(record, now)


def hello(incarnation=1, version=1):
    return Hello(version, "b", 0, incarnation)


def ack(*ranges, source="s.0"):
    return Ack("b", 0, source, 1, 0, ranges)


def held(life):
    return Ack("fold", 0, "s.0", 1, 0, ((0, 2),), taken=life)


def batches(actions):
    return [
        action.record.ranges
        for action in actions
        if isinstance(action, Transmit) and isinstance(action.record, Batch)
    ]


@pytest.fixture
def sender():
    """One whose neighbour is there."""
    made = Sending()
    made.connect()
    made.hear(hello())
    return made


def test_it_makes_its_links_and_is_ready_when_everybody_below_has_said_hello():
    made = Sending()
    actions = made.connect()
    assert [type(action) for action in actions] == [Connect, Transmit]
    assert isinstance(actions[1].record, Open)
    assert not made.ready
    made.hear(hello())
    assert made.ready


def test_a_hello_of_another_version_is_no_hello():
    made = Sending()
    made.hear(hello(version=2))
    assert not made.ready


def test_what_is_finished_is_released_in_order_with_its_tokens(sender):
    assert batches(sender.ship()) == [((0, 2),)]
    assert sender.hear(ack((1, 2))) == []
    (released,) = sender.hear(ack((0, 1)))
    assert isinstance(released, Release)
    assert list(released.tokens) == ["token 0", "token 1"]
    assert (released.messages, sender.ledger.frontier) == (2, 2)


def test_acknowledgements_for_others_count_for_nothing(sender):
    sender.ship()
    assert sender.hear(ack((0, 2), source="t.0")) == []
    assert sender.ledger.frontier == 0


def test_where_nobody_acknowledges_what_is_sent_is_finished():
    made = Sending(links=False)
    (released,) = made.ship()
    assert (released.messages, made.ledger.empty) == (2, True)


def test_a_link_that_breaks_has_all_that_is_not_finished_sent_again_once(sender):
    sender.ship()
    sender.ship()
    sender.hear(ack((0, 2)), now=1.0)
    sender.disconnected(BELOW, 1, now=1.0)
    sender.disconnected(BELOW, 1, now=1.01)
    assert 1.0 + GRACE_S[0] <= sender.deadline <= 1.0 + GRACE_S[1]
    assert sender.tick(sender.deadline - 0.001) == []
    sender.hear(hello(2), now=1.02)
    again = batches(sender.tick(sender.deadline))
    assert again == [((2, 4),)]
    assert sender.redelivered == 2
    assert sender.tick(sender.deadline - 0.001) == []


def test_signs_of_loss_without_end_do_not_put_off_sending_again(sender):
    sender.ship()
    sender.hear(Lost("b", 0), now=1.0)
    due = sender.deadline
    for number in range(100):
        sender.hear(Lost("b", 0), now=1.0 + number / 1000)
    assert sender.deadline == due


def test_a_neighbour_in_its_next_life_has_lost_what_it_had(sender):
    sender.ship()
    sender.hear(hello(2))
    assert batches(sender.tick(sender.deadline)) == [((0, 2),)]


def test_the_same_life_again_has_lost_nothing(sender):
    sender.ship()
    sender.hear(hello())
    assert sender.deadline == STALL_S


def test_without_anything_in_flight_no_loss_is_noted(sender):
    sender.hear(Lost("b", 0))
    assert sender.deadline is None


def test_what_nobody_acknowledges_comes_again_after_a_stall_and_then_more_rarely(sender):
    sender.ship()
    sender.hear(Credit("b", 0, 1, 1, 0.001))  # nothing is in flight to the neighbour
    assert sender.deadline == STALL_S
    assert batches(sender.tick(STALL_S)) == [((0, 2),)]
    assert sender.deadline == STALL_S + 2 * STALL_S


def test_a_slow_neighbour_is_no_stall(sender):
    sender.ship()
    assert sender.tick(STALL_S) == []
    assert sender.redelivered == 0


def test_a_neighbour_that_leaves_gets_its_end(sender):
    (answer,) = sender.hear(Bye("b", 0, 1))
    assert (answer.to, type(answer.record)) == (BELOW, End)


def test_records_of_stages_that_are_no_neighbours_change_nothing(sender):
    sender.ship()
    for record in (Credit("far", 0, 1, 1, 0.0), Bye("far", 0, 1), Lost("far", 0, 1)):
        assert sender.hear(record) == []
    assert sender.deadline == STALL_S


def test_a_message_that_processes_die_of_goes_to_quarantine_at_last(sender):
    sender.ship()
    asked = []
    for life in range(2, 2 + DEATHS):
        asked += sender.hear(Suspect("b", 0, life, "s.0", 1, 1, "SIGSEGV"))
    (found,) = asked
    assert isinstance(found, PutInQuarantine)
    assert (found.item, found.deaths) == (b"b", DEATHS)


@pytest.mark.parametrize("fields", [("t.0", 1, 1), ("s.0", 9, 1), ("s.0", 1, 99)])
def test_suspects_of_others_of_other_lives_or_never_sent_are_left_alone(sender, fields):
    sender.ship()
    for life in range(2, 3 + DEATHS):
        assert sender.hear(Suspect("b", 0, life, *fields, "SIGSEGV")) == []


def test_what_a_fold_held_is_lost_when_it_is_there_in_its_next_life(sender):
    """Though it is the first Hello that this life of the source hears of it."""
    sender.ship()
    sender.hear(held(1))
    assert sender.deadline == STALL_S
    sender.hear(Hello(1, "fold", 0, 2, sticky=True))
    assert batches(sender.tick(GRACE_S[1])) == [((0, 2),)]


def test_what_a_fold_held_is_lost_when_that_is_told_after_its_next_life_is_there(sender):
    sender.ship()
    sender.hear(Hello(1, "fold", 0, 2, sticky=True))
    assert sender.deadline == STALL_S
    sender.hear(held(1))
    assert batches(sender.tick(GRACE_S[1])) == [((0, 2),)]


def test_what_the_living_fold_holds_is_no_loss(sender):
    sender.ship()
    for record in (held(2), Hello(1, "fold", 0, 2, sticky=True), held(2)):
        sender.hear(record)
    assert sender.deadline == STALL_S


def test_after_news_it_is_asked_for_more_to_send(sender):
    sender.ship()
    before = sender.asked
    sender.hear(Credit("b", 0, 1, 1, 0.001))
    assert sender.asked == before + 1
