"""A receiver without a stage: what comes from above, and what is answered."""

import msgspec
import pytest
from batches import make_batch
from msgspec.structs import astuple
from unit.protocol.below import make_receiver

from arroyo.codec import Bye, Credit, End, Hello, Kind, Lost, Open, Refuse, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Outbox, Reply
from arroyo.protocol.values.deduplication import Deduplication

NAME, ABOVE, SOURCE = ReplicaName("b", 0), ReplicaName("a", 0), ReplicaName("s", 0)
FEED = ReplicaName("feed", 0)
HELLO, BYE = Hello(1, "b", 0, 4), Bye("b", 0, 4)
SUSPECT = Suspect("b", 0, 4, "s.0", 1, 1, "was killed by SIGSEGV")


class Taking:
    """A receiver whose calls return what they have asked for."""

    def __init__(self, *, senders=None, **options):
        self._outbox = Outbox()
        self._receiver = make_receiver(
            NAME, senders or {ABOVE: False}, [SOURCE], self._outbox, incarnation=4, **options
        )

    def __getattr__(self, name):
        return getattr(self._receiver, name)

    def take(self, record, now=0.0):
        """Return what is said above, and the batches that want something done."""
        self.told_again, late = [], []
        deliveries = self._receiver.record(record, (), now, self.told_again.append, late.append)
        actions = self._outbox.take()
        assert all(isinstance(action, Reply) for action in actions)
        return [astuple(action) for action in actions], [each.batch for each in deliveries]


def events(number, **fields):
    said = {"sender": "a.0", "source": "s.0", "number": number, "implicit": True}
    return make_batch(**said | fields)


@pytest.fixture
def receiver():
    """One with a link from above."""
    made = Taking()
    made.take(Open(1, "a", 0, 1, 1))
    return made


def test_hello_goes_to_neighbours_and_to_sources_that_are_further_away():
    assert Taking().greet_all() == [Reply(ABOVE, HELLO), Reply(SOURCE, HELLO)]


def test_a_source_hears_of_a_suspect_of_its_own_before_the_hello():
    made = Taking(suspect=SUSPECT)
    assert made.greet(SOURCE) == [Reply(SOURCE, SUSPECT), Reply(SOURCE, HELLO)]
    assert made.greet(ABOVE) == [Reply(ABOVE, HELLO)]


def test_a_link_is_answered_with_hello_and_one_of_a_stranger_not_at_all():
    assert Taking().take(Open(1, "a", 0, 1, 1)) == ([(ABOVE, HELLO)], [])
    assert Taking().take(Open(1, "stranger", 0, 1, 1)) == ([], [])


def test_another_version_is_refused_with_what_to_do():
    ((to, refusal),), _ = Taking().take(Open(2, "a", 0, 1, 1))
    assert (to, type(refusal)) == (ABOVE, Refuse)
    assert refusal.reason == (
        "a.0 speaks version 2 of the link protocol, b.0 version 1: "
        "run the same release on both sides"
    )


def test_batches_are_worked_on_in_the_order_of_their_link(receiver):
    assert receiver.take(events(0)) == ([], [events(0)])
    assert receiver.take(events(1)) == ([], [events(1)])


def test_after_a_gap_the_sender_is_to_make_a_new_link(receiver):
    assert receiver.take(events(1)) == ([(ABOVE, Lost("b", 0, 1))], [])


def test_what_a_stranger_sends_is_neither_worked_on_nor_answered(receiver):
    assert receiver.take(events(0, sender="stranger.0")) == ([], [])
    assert receiver.take(End("stranger.0", 1)) == ([], [])


def test_an_end_of_a_link_that_is_not_known_asks_for_a_new_one(receiver):
    assert receiver.take(End("a.0", 7)) == ([(ABOVE, Lost("b", 0, 7))], [])


@pytest.mark.parametrize("final", [True, False])
def test_inputs_have_finished_when_all_have_said_so_for_good(receiver, final):
    assert not receiver.inputs_left
    receiver.take(End("a.0", 1, final))
    assert receiver.inputs_left
    assert receiver.inputs_finished is final


def test_who_leaves_says_bye_to_those_that_have_not_ended(receiver):
    assert receiver.leave() == [Reply(ABOVE, BYE)]
    receiver.take(End("a.0", 1))
    assert receiver.leave() == []


def test_who_leaves_says_so_again_on_a_link_that_is_made_then():
    made = Taking()
    made.leave()
    assert made.take(Open(1, "a", 0, 1, 1)) == ([(ABOVE, HELLO), (ABOVE, BYE)], [])


def test_a_start_that_comes_again_is_not_worked_on_again(receiver):
    start = events(0, kind=Kind.START, ranges=((0, 0),), implicit=False, run="r")
    assert receiver.take(start) == ([], [start])
    again = msgspec.structs.replace(start, number=1)
    assert receiver.take(again) == ([(ABOVE, Credit("b", 0, 1, 2, 0.0))], [])
    assert receiver.told_again == [again]


def test_a_batch_with_a_suspect_from_before_the_last_death_comes_again_alone():
    made = Taking(suspect=SUSPECT)
    made.take(Open(1, "a", 0, 1, 1))
    answers, work = made.take(events(0, ranges=((0, 3),)))
    assert work == []
    assert answers == [(SOURCE, Lost("b", 0)), (ABOVE, Credit("b", 0, 1, 1, 0.0))]


@pytest.mark.parametrize(
    "fields",
    [{"suspect": 4, "ranges": ((1, 2),)}, {"ranges": ((5, 9),)}, {"epoch": 2}, {"reliable": False}],
    ids=["the source has heard", "others of the run", "another life", "nobody keeps it"],
)
def test_a_batch_that_can_not_kill_again_unawares_is_worked_on(fields):
    made = Taking(suspect=SUSPECT)
    made.take(Open(1, "a", 0, 1, 1))
    batch = events(0, **fields)
    assert made.take(batch) == ([], [batch])


def test_an_announcement_to_another_life_of_a_fold_is_only_credited():
    made = Taking(sticky=True)
    made.take(Open(1, "a", 0, 1, 1))
    made.take(events(0))
    closing = events(1, kind=Kind.CLOSING, ranges=((1, 2),), holders=(("b", 0, 3),))
    assert made.take(closing) == ([(ABOVE, Credit("b", 0, 1, 2, 0.0))], [])
    ours = msgspec.structs.replace(closing, number=2, holders=(("b", 0, 4),))
    assert made.take(ours) == ([], [ours])


def test_only_what_is_new_is_worked_on_where_paths_end():
    batch, known = events(0, ranges=((0, 4),)), Deduplication()
    made = Taking(known=known)
    known.of(batch).add(1, 3)
    assert [each[0] for each in made.plan(batch, "abcd")] == [0, 3]
    assert (made.knows(batch), made.redelivered) == (False, 2)
    assert made.knows(events(0, ranges=((1, 3),)))


def test_where_paths_go_on_all_is_worked_on_again():
    batch, made = events(0, ranges=((0, 4),)), Taking()
    assert [each[0] for each in made.plan(batch, "abcd")] == [0, 1, 2, 3]
    assert (made.knows(batch), made.redelivered) == (False, 0)


def test_a_body_of_another_length_than_announced_is_an_error(receiver):
    with pytest.raises(ValueError, match="4 messages were announced, 3 came"):
        receiver.plan(events(0, ranges=((0, 4),)), "abc")


@pytest.mark.parametrize(("reliable", "dropped"), [(True, 0), (False, 3)])
def test_what_is_skipped_and_does_not_come_again_is_counted_as_dropped(receiver, reliable, dropped):
    receiver.skip(events(0, ranges=((0, 3),), reliable=reliable))
    assert receiver.dropped == dropped


def test_events_of_a_pub_sub_link_that_are_missing_are_counted_as_dropped():
    made = Taking(senders={FEED: True})
    for number in (0, 5):
        made.take(
            events(number, sender="feed.0", link=0, reliable=False, ranges=((number, number + 1),))
        )
    assert made.dropped > 0
