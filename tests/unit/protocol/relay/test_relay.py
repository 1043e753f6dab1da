from __future__ import annotations

import msgspec
import pytest
from unit.protocol.below import make_downstream, make_relay

from arroyo.codec import Ack, Batch, Bye, Credit, Hello, Kind, Lost, Open, Reason, Refuse, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.values.actions import Outbox, Reply, Transmit
from arroyo.protocol.values.batches import end_all, positions_of
from arroyo.protocol.values.deliveries import Output

NAME, ABOVE, SOURCE = ReplicaName("b", 0), ReplicaName("a", 0), ReplicaName("s", 0)
EVENTS = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, implicit=True)


def make(*, below=False, **options):
    outbox = Outbox()
    downstream = make_downstream(NAME, outbox, stage="c", push_pull=below)
    relay = make_relay(NAME, {ABOVE: False}, [SOURCE], downstream, outbox, incarnation=4, **options)
    list(relay.connect())
    if below:
        list(relay.back(Hello(1, "c", 0, 1), 0.0))
    relay.record(Open(1, "a", 0, 1, 1), None, 0.0)
    return relay


def deliver(relay, batch, messages, outcome=lambda message: None):
    """One batch through a stage; returns the records that came of it."""
    actions, deliveries = relay.record(batch, None, 0.0)
    actions = list(actions)
    for each in deliveries:
        work = relay.receiver.plan(each.batch, messages)
        actions += relay.finish(each.batch, work, [outcome(one[2]) for one in work], 0.1)
    return [action.record for action in actions]


def events(number, *ranges, **changes):
    return msgspec.structs.replace(EVENTS, number=number, ranges=ranges, **changes)


def only(kind, records):
    return [record for record in records if isinstance(record, kind)]


@pytest.mark.parametrize("version", [1, 2])
def test_strangers_get_no_answer(version):
    relay = make()
    for name, number in (("x", 0), ("a", 1), ("s", 0)):
        assert relay.record(Open(version, name, number, 1, 1), None, 0.0) == ([], [])


def test_a_terminal_stage_acknowledges_and_credits_each_batch():
    records = deliver(make(), events(0, (3, 5)), ["d", "e"])
    assert records == [
        Ack("b", 0, "s.0", 1, 0, ((3, 5),)),
        Credit("b", 0, 1, 1, 0.1),
    ]


def test_what_was_finished_is_not_worked_on_again_but_acknowledged():
    relay = make()
    deliver(relay, events(0, (3, 5)), ["d", "e"])
    seen = []
    records = deliver(relay, events(1, (4, 6)), ["e", "f"], seen.append)
    assert seen == ["f"]
    assert only(Ack, records)[0].ranges == ((4, 6),)
    assert relay.receiver.redelivered == 1


def test_what_a_publisher_could_not_do_is_acknowledged_with_its_reason():
    refuse = Output(reason=Reason.SKIPPED)
    (ack,) = only(Ack, deliver(make(), events(0, (0, 2)), ["a", "b"], lambda _: refuse))
    assert (ack.ranges, ack.tombstones) == ((), (Tombstone(0, 2, Reason.SKIPPED),))


def test_one_output_per_input_goes_on_as_it_came():
    records = deliver(
        make(below=True),
        events(0, (3, 5), tombstones=(Tombstone(5, 6, Reason.FILTERED),), detached=(0,)),
        [b"d", b"e"],
        lambda message: message,
    )
    (batch,) = only(Batch, records)
    assert (batch.ranges, batch.tombstones) == (((3, 5),), (Tombstone(5, 6, Reason.FILTERED),))
    assert (batch.sender, batch.detached) == ("b.0", ())
    assert not only(Ack, records)


def test_filters_leave_tombstones_and_splits_make_parts():
    outcomes = {
        "a": Output(),
        "b": Output([b"b0", b"b1"], 4),
        "c": Output([b"c"], 1),
        "d": Output(reason=Reason.SKIPPED),
    }
    records = deliver(make(below=True), events(0, (0, 4)), list("abcd"), outcomes.get)
    (batch,) = only(Batch, records)
    assert positions_of(batch) == [(1, ((0, 2),)), (1, ((1, 2),)), (2, ())]
    assert batch.tombstones == (
        Tombstone(0, 1, Reason.FILTERED),
        Tombstone(3, 4, Reason.SKIPPED),
    )


def test_splits_of_splits_nest():
    batch = events(0, (7, 8), fragments=((0, ((1, 2),)),))
    (sent,) = only(
        Batch, deliver(make(below=True), batch, ["x"], lambda _: Output([b"0", b"1"], 2))
    )
    assert [part for _, part in positions_of(sent)] == [((1, 2), (0, 2)), ((1, 2), (1, 2))]


def test_an_ordered_stage_waits_for_what_is_missing():
    relay, seen = make(ordered=True), []
    assert not only(Ack, deliver(relay, events(0, (1, 2)), ["b"], seen.append))
    (ack,) = only(Ack, deliver(relay, events(1, (0, 1)), ["a"], seen.append))
    assert seen == ["a", "b"]
    assert ack.ranges == ((0, 2),)


def test_a_tombstone_of_any_length_costs_an_ordered_stage_nothing():
    relay, seen = make(ordered=True), []
    deliver(relay, events(0, (5, 6)), ["f"], seen.append)
    stones = (Tombstone(0, 5, Reason.FILTERED), Tombstone(6, 1 << 62, Reason.FILTERED))
    deliver(relay, events(1, tombstones=stones), [], seen.append)
    assert seen == ["f"]


def test_what_was_lost_below_an_ordered_operator_goes_the_way_again():
    relay = make(below=True, ordered=True)
    deliver(relay, events(0, (0, 2)), [b"a", b"b"], lambda message: message)
    (batch,) = only(
        Batch, deliver(relay, events(1, (1, 2), attempt=1), [b"b"], lambda message: message)
    )
    assert batch.ranges == ((1, 2),)


def test_a_batch_after_a_gap_makes_the_sender_open_a_new_link():
    relay = make()
    assert deliver(relay, events(2, (0, 1)), ["a"]) == [Lost("b", 0, 1)]
    assert deliver(relay, events(3, (0, 1)), ["a"]) == [Lost("b", 0, 1)]


def test_a_stage_tells_the_sources_when_a_replica_below_was_lost():
    relay = make(below=True)
    deliver(relay, events(0, (0, 1)), [b"a"], lambda message: message)
    actions = list(relay.back(Hello(1, "c", 0, 2), 0.0))
    assert Reply(SOURCE, Lost("b", 0)) in actions
    assert not only(Lost, [each.record for each in relay.back(Hello(1, "c", 0, 2), 0.0)])


def test_a_link_that_the_receiver_does_not_know_is_made_anew():
    relay = make(below=True)
    deliver(relay, events(0, (0, 1)), [b"a"], lambda message: message)
    actions = list(relay.back(Lost("c", 0, link=1), 0.0))
    assert Reply(SOURCE, Lost("b", 0)) in actions
    assert [type(each.record) for each in actions if isinstance(each, Transmit)] == [Open]
    assert list(relay.back(Lost("c", 0, link=1), 0.0)) == []


def test_another_version_is_refused_in_words():
    actions, _ = make().record(Open(2, "a", 0, 1, 5), None, 0.0)
    (refusal,) = only(Refuse, [action.record for action in actions])
    assert refusal.reason == (
        "a.0 speaks version 2 of the link protocol, b.0 version 1: "
        "run the same release on both sides"
    )


def test_a_stage_that_leaves_says_so_on_later_links_too():
    relay = make()
    assert [action.record for action in relay.receiver.leave()] == [Bye("b", 0, 4)]
    actions, _ = relay.record(Open(1, "a", 0, 1, 2), None, 0.0)
    assert [type(action.record) for action in actions] == [Hello, Bye]


def test_a_stage_that_flushes_acknowledges_what_is_safe():
    relay = make(flushes=True)
    assert not only(Ack, deliver(relay, events(0, (0, 1)), ["a"]))
    assert [action.record.ranges for action in relay.flushed()] == [((0, 1),)]
    assert list(relay.flushed()) == []


def test_only_what_was_finished_before_a_flush_began_is_safe_when_it_is_over():
    relay = make(flushes=True)
    deliver(relay, events(0, (0, 1)), ["a"])
    relay.begin_flush()
    deliver(relay, events(1, (1, 2)), ["b"])
    assert [action.record.ranges for action in relay.flushed(begun=True)] == [((0, 1),)]
    assert list(relay.flushed(begun=True)) == []
    assert [action.record.ranges for action in relay.flushed()] == [((1, 2),)]


def test_what_comes_again_during_a_flush_waits_for_no_other_one():
    relay = make(flushes=True)
    deliver(relay, events(0, (0, 1)), ["a"])
    relay.begin_flush()
    assert not only(Ack, deliver(relay, events(1, (0, 1), attempt=1), ["a"]))
    assert [action.record.ranges for action in relay.flushed(begun=True)] == [((0, 1),)] * 2
    assert list(relay.flushed()) == []


def test_what_comes_again_of_what_is_not_flushed_waits_with_it():
    relay = make(flushes=True)
    deliver(relay, events(0, (0, 1)), ["a"])
    relay.begin_flush()
    deliver(relay, events(1, (1, 2)), ["b"])
    deliver(relay, events(2, (1, 2), attempt=1), ["b"])
    assert [action.record.ranges for action in relay.flushed(begun=True)] == [((0, 1),)]
    assert [action.record.ranges for action in relay.flushed()] == [((1, 2),)] * 2


def test_what_was_refused_at_the_flush_has_ended_and_all_else_is_finished():
    relay = make(flushes=True)
    deliver(relay, events(0, (0, 4), base=0), list("abcd"))
    deliver(relay, events(1, (4, 6), base=0), list("ef"))
    refused = {Origin("r", "s.0", 1, number): Reason.QUARANTINED for number in (1, 2)}
    first, second = (action.record for action in relay.flushed(refused))
    assert first.ranges == ((0, 1), (3, 4))
    assert first.tombstones == (Tombstone(1, 3, Reason.QUARANTINED),)
    assert (second.ranges, second.tombstones) == (((4, 6),), ())


def test_a_part_of_a_message_can_be_refused_alone():
    relay = make(flushes=True)
    parts = events(0, (0, 2), fragments=((0, ((0, 2),)), (1, ((1, 2),))))
    parts = msgspec.structs.replace(parts, ranges=((0, 1), (0, 1)))
    deliver(relay, parts, ["a", "b"])
    refused = {Origin("r", "s.0", 1, 0, 0, ((1, 2),)): Reason.SKIPPED}
    (ack,) = (action.record for action in relay.flushed(refused))
    assert ack.fragments == ((0, ((0, 2),)),)
    assert ack.tombstones == (Tombstone(0, 1, Reason.SKIPPED, ((1, 2),)),)


def test_what_ended_on_the_way_waits_for_no_flush():
    stones = (Tombstone(0, 1, Reason.FILTERED),)
    (ack,) = only(Ack, deliver(make(flushes=True), events(0, tombstones=stones), []))
    assert ack.tombstones == stones


def test_a_start_by_another_path_is_acknowledged_though_no_flush_is_due():
    relay = make(flushes=True)
    start = events(0, (0, 1), kind=Kind.START, implicit=False)
    deliver(relay, start, ["start"])
    list(relay.flushed())
    twin = msgspec.structs.replace(start, number=1, path=1)
    (ack,) = only(Ack, deliver(relay, twin, ["start"]))
    assert ack.path == 1


def reject(relay, batch):
    relay.record(batch, None, 0.0)
    buried = end_all(batch, Reason.SKIPPED)
    work = relay.receiver.plan(buried, ())
    return relay.finish(buried, work, [message for *_, message in work], 0.1)


def test_an_ordered_stage_waits_no_longer_for_a_body_that_can_not_be_read():
    relay = make(ordered=True)
    deliver(relay, events(0, (1, 2)), ["b"])
    (ack,) = only(Ack, [action.record for action in reject(relay, events(1, (0, 1)))])
    assert (ack.ranges, ack.tombstones) == (((1, 2),), (Tombstone(0, 1, Reason.SKIPPED),))


def test_a_body_that_can_not_be_read_ends_as_tombstones():
    relay = make()
    batch = events(0, (0, 3))
    (ack,) = only(Ack, [action.record for action in reject(relay, batch)])
    assert ack.tombstones == (Tombstone(0, 3, Reason.SKIPPED),)


def test_a_body_of_parts_that_can_not_be_read_buries_no_other_parts():
    relay = make()
    batch = events(0, (3, 4), fragments=((0, ((1, 2),)),))
    (ack,) = only(Ack, [action.record for action in reject(relay, batch)])
    assert ack.tombstones == (Tombstone(3, 4, Reason.SKIPPED, ((1, 2),)),)


@pytest.mark.parametrize("messages", [[], ["a"], ["a", "b", "c"]])
def test_another_number_of_messages_than_announced_is_refused(messages):
    with pytest.raises(ValueError, match=f"2 messages were announced, {len(messages)} came"):
        make().receiver.plan(events(0, (0, 2)), messages)
