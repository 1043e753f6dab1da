from __future__ import annotations

import itertools

import pytest

from arroyo.codec import Batch, Bye, Credit, End, Hello, Kind, Open, Shared
from arroyo.identifiers import ReplicaName
from arroyo.messages import SlabReference
from arroyo.protocol.sending import dispatcher
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.values import flow_limits
from arroyo.protocol.values.actions import Connect, Outbox, Transmit
from arroyo.protocol.values.batches import OutgoingBatch, count_of, describe
from arroyo.protocol.values.history import History

SENDER = ReplicaName("a", 0)


class Links:
    """A dispatcher whose calls return what they have asked for."""

    def __init__(self, *args, **options):
        self._outbox = Outbox()
        self.history = History()
        self._dispatcher = Dispatcher(
            *args, emit=self._outbox.emit, history=self.history, **options
        )

    def __getattr__(self, name):
        return getattr(self._dispatcher, name)

    def connect(self, incarnation):
        self._dispatcher.connect(incarnation)
        return self._outbox.take()

    def send(self, batch):
        self._dispatcher.send(batch)
        return self._outbox.take()

    def end(self, *, final):
        self._dispatcher.end(final=final)
        return self._outbox.take()

    def bye(self, bye):
        self._dispatcher.bye(bye)
        return self._outbox.take()

    def credit(self, credit):
        self._dispatcher.credit(credit)
        return self._outbox.take()

    def hello(self, hello):
        """Return also whether it may miss anything."""
        lost = self._dispatcher.hello(hello)
        return self._outbox.take(), lost

    def disconnected(self, number, link):
        """Return also whether anything can have been lost."""
        lost = self._dispatcher.disconnected(number, link)
        return self._outbox.take(), lost


def make(replicas=1, dispatch="balanced", edge=0):
    new_link = itertools.count(100).__next__
    links = Links(SENDER, "b", replicas, edge=edge, dispatch=dispatch, new_link=new_link)
    links.connect(1)
    return links


def batch_of(first, count, kind=Kind.EVENTS, *, size=None, keys=None, run="r"):
    header = Batch("", 0, 0, kind, run, "s.0", 1, 0, 0, 0, ranges=((first, first + count),))
    items = [f"m{number}" for number in range(first, first + count)]
    return OutgoingBatch(header, items, count if size is None else size, keys)


def hello(replica=0, incarnation=1, version=1):
    return Hello(version, "b", replica, incarnation)


def sent(actions):
    """Who got which messages: (replica, items) per batch."""
    return [
        (each.to.replica, list(each.items))
        for each in actions
        if isinstance(each, Transmit) and isinstance(each.record, Batch)
    ]


def credit(links, replica, number, message_s=0.001, link=None):
    link = links._replicas[replica].link if link is None else link
    return links.credit(Credit("b", replica, link, number, message_s))


def test_nothing_goes_to_a_replica_before_its_hello():
    links = make()
    assert sent(links.send(batch_of(0, 2))) == []
    assert links.blocked
    actions, lost = links.hello(hello())
    assert sent(actions) == [(0, ["m0", "m1"])]
    assert not lost
    assert not links.blocked


def test_its_history_tells_once_that_batches_wait_and_once_that_none_does():
    links = make()
    for first in (0, 2, 4):
        links.send(batch_of(first, 2))
    links.hello(hello())
    credit(links, 0, 3)
    assert [line.partition("  ")[2] for line in links.history.lines()] == [
        "made link 100 to b.0",
        "no replica of b has room, 1 batches wait",
        "b.0 takes batches, incarnation 1",
        "sent batch 0 to b.0: 2 messages",
        "sent batch 1 to b.0: 2 messages",
        "sent batch 2 to b.0: 2 messages",
        "nothing waits for b any more",
    ]


def test_payloads_that_stay_in_shared_memory_take_no_room_at_the_receiver():
    links = make()
    links.hello(hello())
    large = SlabReference("pool", 0, flow_limits.AHEAD_BYTES, 1)
    batch = batch_of(0, 5)
    batch.items = [Shared(b"m", large) for _ in range(5)]
    batch.size = sum(map(len, batch.items))
    assert [len(items) for _, items in sent(links.send(batch))] == [5]
    assert not links.blocked


def test_open_runs_are_told_to_whoever_comes_late():
    links = make(replicas=2)
    links.hello(hello(0))
    assert sent(links.send(batch_of(0, 1, Kind.START))) == [(0, ["m0"])]
    assert sent(links.hello(hello(1))[0]) == [(1, ["m0"])]
    assert sent(links.send(batch_of(1, 1, Kind.STOP))) == [(0, ["m1"]), (1, ["m1"])]
    assert sent(links.hello(hello(1, incarnation=2))[0]) == []


def test_a_replica_that_missed_a_stop_makes_the_source_send_it_again():
    links = make(replicas=2)
    links.hello(hello(0))
    links.send(batch_of(0, 1, Kind.START))
    links.send(batch_of(1, 1, Kind.STOP))
    assert links.hello(hello(1))[1]
    assert not links.hello(hello(0, incarnation=1))[1]


def test_every_batch_says_which_on_its_link_it_is_and_the_path_so_far():
    links = make(edge=5)
    links.hello(hello())
    batches = [
        action.record
        for first in (0, 1)
        for action in links.send(batch_of(first, 1))
        if isinstance(action, Transmit)
    ]
    assert [(each.sender, each.link, each.number, each.path) for each in batches] == [
        ("a.0", 100, 0, 5),
        ("a.0", 100, 1, 5),
    ]


class Handled(list):
    """Messages that count how many of them were copied from one list into another."""

    copied = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        if not isinstance(place, slice):
            return found
        Handled.copied += len(found)
        return Handled(found)


def test_many_results_of_one_message_are_cut_into_batches_in_one_pass():
    count = 100 * flow_limits.BATCH_MESSAGES
    parts = [(0, ((index, count),)) for index in range(count)]
    header = Batch("", 0, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, **describe(parts))
    links = make()
    links.hello(hello())
    Handled.copied = 0
    actions = links.send(OutgoingBatch(header, Handled(range(count)), count))
    for number in itertools.count():
        if not links.blocked:
            break
        actions += credit(links, 0, number, message_s=1e-6)
    assert [item for _, items in sent(actions) for item in items] == list(range(count))
    assert Handled.copied <= 4 * count  # each time a batch left it was all that waited


def test_what_is_over_the_bound_waits_for_credit():
    links = make()
    links.hello(hello())
    bound = 2 * flow_limits.FIRST_BATCH_MESSAGES
    first = sent(links.send(batch_of(0, bound + 10)))
    assert sum(len(items) for _, items in first) == bound
    assert links.blocked
    assert links.in_flight == bound
    assert list(links.waiting(1)) == [(bound, bound + 10)]
    rest = sent(credit(links, 0, len(first)))
    assert [item for _, items in rest for item in items] == [
        f"m{number}" for number in range(bound, bound + 10)
    ]
    assert not links.blocked


def test_a_batch_is_not_split_for_the_last_of_the_bound():
    links = make()
    links.hello(hello())
    links.send(batch_of(0, 1))
    credit(links, 0, 1, message_s=1e-6)
    links.send(batch_of(1, 1))
    batches = flow_limits.AHEAD_MESSAGES // flow_limits.BATCH_MESSAGES
    firsts = range(2, 2 + batches * flow_limits.BATCH_MESSAGES, flow_limits.BATCH_MESSAGES)
    for first in firsts:
        ((_, items),) = sent(links.send(batch_of(first, flow_limits.BATCH_MESSAGES)))
        assert len(items) == flow_limits.BATCH_MESSAGES
    assert sent(links.send(batch_of(firsts.stop, 1))) == []


def test_a_slow_replica_gets_one_message_at_a_time():
    links = make()
    links.hello(hello())
    links.send(batch_of(0, 1))
    credit(links, 0, 1, message_s=1.0)
    assert sent(links.send(batch_of(1, 5))) == [(0, ["m1"]), (0, ["m2"])]


def test_large_messages_are_bounded_by_their_bytes():
    links = make()
    links.hello(hello())
    size = flow_limits.AHEAD_BYTES // 2
    assert len(sent(links.send(batch_of(0, 5, size=5 * size)))) <= 2
    assert links.in_flight == 2


def test_one_message_beyond_all_bounds_still_goes():
    links = make()
    links.hello(hello())
    assert sent(links.send(batch_of(0, 1, size=2 * flow_limits.AHEAD_BYTES))) == [(0, ["m0"])]


def test_the_replica_with_the_least_to_do_is_next():
    links = make(replicas=2)
    links.hello(hello(0))
    links.hello(hello(1))
    assert [to for first in range(4) for to, _ in sent(links.send(batch_of(first, 1)))] == [
        0,
        1,
        0,
        1,
    ]
    credit(links, 1, 2)
    assert sent(links.send(batch_of(4, 1))) == [(1, ["m4"])]


def test_one_key_always_goes_to_one_replica():
    links = make(replicas=3, dispatch="key")
    for replica in range(3):
        links.hello(hello(replica))
    got = sent(links.send(batch_of(0, 6, keys=[7, 7, 8, 9, 9, 7])))
    assert got == [(1, ["m0", "m1"]), (2, ["m2"]), (0, ["m3", "m4"]), (1, ["m5"])]


def test_a_key_waits_for_its_own_replica():
    links = make(replicas=2, dispatch="key")
    links.hello(hello(0))
    assert sent(links.send(batch_of(0, 2, keys=[0, 1]))) == [(0, ["m0"])]
    assert links.blocked
    assert sent(links.hello(hello(1))[0]) == [(1, ["m1"])]


def test_one_sequence_always_goes_to_one_replica():
    links = make(replicas=2, dispatch="sequence")
    links.hello(hello(0))
    links.hello(hello(1))
    block = dispatcher.SEQUENCE_BLOCK
    assert [to for to, _ in sent(links.send(batch_of(block - 1, 2)))] == [0, 1]
    assert [to for to, _ in sent(links.send(batch_of(2 * block, 1)))] == [0]


def test_a_new_life_gets_a_new_link_and_the_old_one_is_lost():
    links = make()
    links.hello(hello())
    links.send(batch_of(0, 1))
    actions, lost = links.hello(hello(incarnation=2))
    assert lost
    assert [type(each) for each in actions] == [Connect, Transmit]
    assert actions[0] == Connect(ReplicaName("b", 0), 101)
    assert isinstance(actions[1].record, Open)
    assert links.in_flight == 0


def test_a_broken_link_is_made_anew_once():
    links = make()
    links.hello(hello())
    actions, lost = links.disconnected(0, 100)
    assert lost
    assert actions[0].link == 101
    assert links.disconnected(0, 100) == ([], False)
    assert sent(links.send(batch_of(0, 1))) == []
    actions, lost = links.hello(hello(incarnation=2))
    assert sent(actions) == [(0, ["m0"])]
    assert not lost


def test_a_link_that_carried_nothing_breaks_without_a_loss():
    assert not make().disconnected(0, 100)[1]


def test_credit_for_an_old_link_is_ignored():
    links = make()
    links.hello(hello())
    links.send(batch_of(0, 1))
    credit(links, 0, 1, link=99)
    assert links.in_flight == 1


def test_a_replica_that_leaves_gets_end_and_nothing_more():
    links = make(replicas=2)
    links.hello(hello(0))
    links.hello(hello(1))
    (action,) = links.bye(Bye("b", 0, 1))
    assert action.record == End("a.0", 100, final=False)
    assert links.bye(Bye("b", 0, 1)) == []
    assert links.hello(hello(0)) == ([], False)
    assert {to for first in range(4) for to, _ in sent(links.send(batch_of(first, 1)))} == {1}


def test_the_goodbye_of_a_former_life_is_ignored():
    links = make()
    links.hello(hello(incarnation=2))
    assert links.bye(Bye("b", 0, 1)) == []


def test_end_comes_after_all_that_waits():
    links = make()
    links.send(batch_of(0, 1))
    assert links.end(final=True) == []
    assert not links.ended
    actions, _ = links.hello(hello())
    assert [type(each.record) for each in actions] == [Batch, End]
    assert links.ended


@pytest.mark.parametrize("replica", [1, 5, 1 << 62])
def test_a_replica_that_does_not_exist_is_ignored(replica):
    links = make()
    assert links.hello(hello(replica)) == ([], False)
    assert links.disconnected(replica, 100) == ([], False)
    assert links.bye(Bye("b", replica, 1)) == []
    assert links.credit(Credit("b", replica, 100, 1, 0.1)) == []


def test_a_replica_of_another_version_gets_nothing():
    links = make()
    links.hello(hello(version=2))
    assert sent(links.send(batch_of(0, 1))) == []


def sticky(replica=0, incarnation=1):
    return Hello(1, "b", replica, incarnation, sticky=True)


def test_a_stage_that_folds_gets_one_sequence_always_in_one_replica():
    links = make(replicas=2)
    links.hello(sticky(0))
    links.hello(sticky(1))
    firsts = [dispatcher.SEQUENCE_BLOCK + 1, 0, dispatcher.SEQUENCE_BLOCK + 2, 1]
    for _ in range(2):
        got = [to for first in firsts for to, _ in sent(links.send(batch_of(first, 1)))]
        assert got == [1, 0, 1, 0]


def test_a_stage_that_folds_keeps_its_dispatch_by_key():
    links = make(replicas=2, dispatch="key")
    links.hello(sticky(0))
    links.hello(sticky(1))
    assert sent(links.send(batch_of(0, 2, keys=[1, 0]))) == [(1, ["m0"]), (0, ["m1"])]


def test_one_announcement_of_a_stop_goes_to_every_replica_past_the_bound():
    links = make(replicas=2)
    links.hello(hello(0))
    links.hello(hello(1))
    bound = 2 * flow_limits.FIRST_BATCH_MESSAGES
    links.send(batch_of(0, 2 * bound))
    assert [to for to, _ in sent(links.send(batch_of(0, 1, Kind.CLOSING)))] == [0, 1]


@pytest.mark.parametrize("kind", [Kind.CLOSING, Kind.STOP])
def test_a_replica_that_was_not_there_when_a_stop_went_by_misses_something(kind):
    links = make(replicas=2)
    links.hello(hello(0))
    assert [to for to, _ in sent(links.send(batch_of(0, 1, kind)))] == [0]
    actions, lost = links.hello(hello(1))
    assert (sent(actions), lost) == ([], True)
    assert not links.hello(hello(1))[1]


def test_an_announcement_leaves_the_run_open():
    links = make(replicas=2)
    links.hello(hello(0))
    links.send(batch_of(0, 1, Kind.START))
    links.send(batch_of(1, 1, Kind.CLOSING))
    assert sent(links.hello(hello(1))[0]) == [(1, ["m0"])]


def test_tombstones_alone_travel_too():
    links = make()
    links.hello(hello())
    (action,) = links.send(batch_of(0, 0))
    assert count_of(action.record) == 0


def test_what_was_finished_while_it_waited_does_not_leave():
    links = make()
    first, second, third = batch_of(0, 3), batch_of(3, 2), batch_of(5, 1)
    first.trim = lambda _: batch_of(2, 1)
    second.trim = lambda _: batch_of(3, 0)
    for each in (first, second, third):
        links.send(each)
    actions, _ = links.hello(hello())
    assert sent(actions) == [(0, ["m2"]), (0, ["m5"])]
