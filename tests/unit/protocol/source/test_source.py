from __future__ import annotations

import itertools

from unit.protocol.below import make_context, make_downstream, make_source

from arroyo.codec import Ack, Batch, Credit, End, Hello, Kind, Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.redelivery import GRACE_S, STALL_S
from arroyo.protocol.values.actions import Broadcast, Connect, Outbox, Release, Transmit
from arroyo.protocol.values.run_totals import RunTotals

NAME = ReplicaName("s", 0)


class Sink:
    """Acknowledges and credits whatever a source sends, or as much of it as a test wants."""

    def __init__(
        self,
        *,
        ordered=False,
        pub_sub=False,
        push_pull=True,
        loss=None,
        recover=None,
    ):
        outbox = Outbox()
        downstream = make_downstream(
            NAME, outbox, push_pull=push_pull, pub_sub=pub_sub, expected=[("b", 0)]
        )
        runs = (f"run{number}" for number in itertools.count(1))
        self.source = make_source(
            make_context(NAME, downstream, outbox, ordered=ordered),
            outbox,
            loss=loss,
            recover=recover,
            new_run=lambda: next(runs),
        )
        self.batches = []
        self.actions = []
        self.take(self.source.connect())
        self.take(self.source.record(Hello(1, "b", 0, 1), 0.0))

    def take(self, actions):
        """Return the batches among actions."""
        actions = list(actions)
        self.actions += actions
        new = [
            (action.record, list(action.items))
            for action in actions
            if isinstance(action, Transmit | Broadcast) and isinstance(action.record, Batch)
        ]
        self.batches += new
        return new

    def accept(self, kind, *items, now=0.0, make_stop=None):
        tokens = items or (None,)
        intake = InputBatch(kind, items, tokens, len(items), make_stop=make_stop)
        return self.take(self.source.accept(intake, now))

    def stop(self, now=0.0):
        return self.accept(Kind.STOP, make_stop=RunTotals.as_data, now=now)

    def acknowledge(self, *ranges, now=0.0):
        return self.take(self.source.record(Ack("b", 0, "s.0", 1, 0, ranges), now))

    def credit(self, number, link=1, now=0.0):
        return self.take(self.source.record(Credit("b", 0, link, number, 0.001), now))


def brief(batches):
    return [(record.kind, record.run, items) for record, items in batches]


def test_a_source_is_ready_when_everybody_below_is():
    sink = Sink()
    assert sink.source.ready


def test_stop_leaves_when_everything_before_it_is_finished_and_tells_the_totals():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a", "b")
    assert sink.stop() == []
    assert sink.acknowledge((0, 1)) == []
    ((record, (totals,)),) = sink.acknowledge((1, 3))
    assert (record.kind, record.run, record.ranges) == (Kind.STOP, "run1", ((3, 4),))
    assert totals == {
        "sent": 2,
        "filtered": 0,
        "skipped": 0,
        "quarantined": 0,
        "dropped": 0,
        "lost": 0,
        "complete": True,
    }


def test_what_comes_behind_a_stop_waits_for_it():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.stop()
    assert sink.accept(Kind.START, "next") == []
    assert sink.source.blocked
    assert [run for _, run, _ in brief(sink.acknowledge((0, 1)))] == ["run1", "run2"]


def test_a_start_without_a_stop_before_closes_the_run_and_says_so():
    sink = Sink()
    sink.accept(Kind.START, "one")
    assert sink.accept(Kind.START, "two") == []
    stop, start = brief(sink.acknowledge((0, 1)))
    assert stop[2][0][0] == "another Start came before the Stop"
    assert stop[2][0][1]["complete"] is False
    assert start == (Kind.START, "run2", ["two"])


def test_a_start_waits_until_the_implicit_run_before_it_is_finished():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    assert sink.accept(Kind.START, "start") == []
    *_, (record, _) = sink.acknowledge((0, 1))
    assert (record.kind, record.base, record.frontier) == (Kind.START, 2, 1)


def test_a_source_that_ends_in_mid_run_closes_it_and_then_says_end():
    sink = Sink()
    sink.accept(Kind.START, "start")
    assert sink.take(sink.source.finish(0.0)) == []
    ((record, ((reason, _),)),) = sink.acknowledge((0, 1))
    assert record.kind == Kind.STOP
    assert reason == "the source ended in mid-run"
    assert not sink.source.ended
    sink.acknowledge((1, 2))
    assert sink.actions[-1].record == End("s.0", 1, final=True)
    assert sink.source.ended


def test_tokens_come_back_in_order_when_their_messages_are_finished():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a", "b", "c")
    sink.acknowledge((1, 2))
    sink.acknowledge((0, 1))
    (release,) = [action for action in sink.actions if isinstance(action, Release)]
    assert (release.tokens, release.messages) == (["a", "b"], 2)


def test_what_was_lost_comes_again_after_a_grace():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a", "b", now=1.0)
    sink.acknowledge((0, 1), now=1.01)
    sink.take(sink.source.record(Lost("b", 0), 2.0))
    due = sink.source.deadline
    assert 2.0 + GRACE_S[0] <= due <= 2.0 + GRACE_S[1]
    assert sink.take(sink.source.tick(due - 0.001)) == []
    ((record, items),) = sink.take(sink.source.tick(due))
    assert (items, record.ranges, record.attempt) == (["b"], ((1, 2),), 1)
    assert sink.source.redelivered == 1


def test_many_signs_of_one_death_make_one_round():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    for now in (1.0, 1.01, 1.02):
        sink.take(sink.source.record(Lost("b", 0), now))
    assert len(sink.take(sink.source.tick(9.0))) == 1
    assert sink.take(sink.source.tick(9.1)) == []


def test_losses_without_end_do_not_put_it_off_for_ever():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    sink.take(sink.source.record(Lost("b", 0), 1.0))
    due = sink.source.deadline
    sink.take(sink.source.record(Lost("b", 0), due - 0.001))
    assert sink.source.deadline == due


def test_a_loss_with_nothing_unfinished_is_none():
    sink = Sink()
    sink.take(sink.source.record(Lost("b", 0), 1.0))
    assert sink.source.deadline is None


def test_what_was_finished_within_the_grace_is_not_sent_again():
    sink = Sink(ordered=True)
    sink.accept(Kind.EVENTS, "a")
    sink.take(sink.source.record(Lost("b", 0), 1.0))
    sink.acknowledge((0, 1), now=1.01)
    assert sink.take(sink.source.tick(9.0)) == []


def test_a_restarted_stage_that_restores_order_is_told_where_to_begin():
    sink = Sink(ordered=True)
    sink.accept(Kind.EVENTS, "a", "b")
    sink.take(sink.source.record(Lost("b", 0), 1.0))
    sink.accept(Kind.EVENTS, "c", now=1.02)
    sink.acknowledge((0, 2), now=1.03)
    ((record, items),) = sink.take(sink.source.tick(9.0))
    assert (record.frontier, items) == (2, [])


def test_a_link_that_the_receiver_does_not_know_is_made_anew():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    sink.take(sink.source.record(Lost("b", 0, link=1), 1.0))
    assert Connect(ReplicaName("b", 0), 2) in sink.actions
    assert sink.source.deadline > 1.0
    before = len(sink.actions)
    sink.take(sink.source.record(Lost("b", 0, link=1), 1.0))
    assert len(sink.actions) == before


def test_when_nothing_moves_for_long_all_is_sent_again():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a", now=1.0)
    sink.credit(1, now=1.0)
    assert sink.source.deadline == 1.0 + STALL_S
    assert brief(sink.take(sink.source.tick(1.0 + STALL_S))) == [(Kind.EVENTS, "run1", ["a"])]


def test_what_a_neighbour_still_has_in_hand_is_not_sent_again():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a", now=1.0)
    assert sink.take(sink.source.tick(1.0 + STALL_S)) == []


def test_a_stop_that_is_sent_again_brings_its_start_along():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.stop()
    sink.acknowledge((0, 1))
    sink.take(sink.source.record(Lost("b", 0), 1.0))
    assert brief(sink.take(sink.source.tick(9.0)))[0] == (Kind.START, "run1", ["start"])


def take_up(sink, *ranges, life=1, now=0.0):
    """The stage below folds, and holds these."""
    return sink.take(sink.source.record(Ack("b", 0, "s.0", 1, 0, ranges, taken=life), now))


def announced(batches):
    return [record.holders for record, _ in batches if record.kind == Kind.CLOSING]


HOLDERS = (("b", 0, 1),)


def test_a_stop_is_announced_once_all_is_finished_or_held_and_follows_when_all_is_finished():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a", "b", "c")
    sink.stop()
    assert sink.acknowledge((0, 2)) == []
    assert take_up(sink, (2, 3)) == []
    ((record, (totals,)),) = take_up(sink, (3, 4))
    assert (record.kind, record.run, record.holders) == (Kind.CLOSING, "run1", HOLDERS)
    assert (totals["sent"], totals["complete"]) == (3, True)
    assert take_up(sink, (2, 4)) == []
    ((record, _),) = sink.acknowledge((2, 4))
    assert (record.kind, record.ranges) == (Kind.STOP, ((4, 5),))


def test_a_run_of_which_nothing_is_held_is_not_announced():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    sink.stop()
    sink.acknowledge((0, 2))
    sink.acknowledge((2, 3))
    assert announced(sink.batches) == []


def test_a_stop_is_announced_again_after_each_round_of_sending_again():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    sink.stop()
    sink.acknowledge((0, 1))
    assert len(announced(take_up(sink, (1, 2)))) == 1
    sink.take(sink.source.record(Hello(1, "b", 0, 2, sticky=True), 1.0))
    again = sink.take(sink.source.tick(9.0))
    assert brief(again) == [(Kind.EVENTS, "run1", ["a"])]
    ((record, _),) = take_up(sink, (1, 2), life=2, now=10.0)
    assert (record.kind, record.attempt, record.holders) == (Kind.CLOSING, 1, (("b", 0, 2),))


def test_an_announcement_that_may_be_lost_itself_is_told_again():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    sink.stop()
    sink.acknowledge((0, 1))
    take_up(sink, (1, 2))
    sink.take(sink.source.record(Lost("far", 0), 1.0))
    assert announced(sink.take(sink.source.tick(9.0))) == [HOLDERS]


def test_the_end_of_a_run_without_a_start_is_announced_before_a_start():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    take_up(sink, (0, 1))
    assert announced(sink.batches) == []
    ((record, ((reason, totals),)),) = sink.accept(Kind.START, "start")
    assert (record.kind, record.implicit, record.holders) == (Kind.CLOSING, True, HOLDERS)
    assert (reason, totals["sent"]) == ("", 1)
    (last, _), *start = sink.acknowledge((0, 1))
    assert (last.kind, last.attempt, last.holders) == (Kind.CLOSING, 1, ())
    assert brief(start) == [(Kind.START, "run2", ["start"])]


def test_the_end_of_a_run_without_a_start_is_announced_at_the_end():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    take_up(sink, (0, 1))
    assert announced(sink.take(sink.source.finish(0.0))) == [HOLDERS]
    assert not sink.source.ended
    sink.acknowledge((0, 1))
    assert sink.source.ended


def test_the_end_of_a_run_without_a_start_is_announced_once_when_all_of_it_is_finished():
    """A fold without a bound finishes what it takes, and still has something to give out."""
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    sink.acknowledge((0, 1))
    assert announced(sink.take(sink.source.finish(0.0))) == [()]
    assert sink.source.ended
    assert announced(sink.take(sink.source.finish(0.0))) == []


def test_each_run_is_announced_for_itself():
    sink = Sink()
    for first in (0, 3):
        sink.accept(Kind.START, "start")
        sink.accept(Kind.EVENTS, "a")
        sink.stop()
        sink.acknowledge((first, first + 1))
        assert announced(take_up(sink, (first + 1, first + 2))) == [HOLDERS]
        sink.acknowledge((first + 1, first + 2))
        sink.acknowledge((first + 2, first + 3))
    assert sink.source.ledger.empty


def test_what_a_fold_has_forgotten_keeps_a_stop_from_being_announced():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    sink.acknowledge((0, 1))
    take_up(sink, (1, 2))
    sink.take(sink.source.record(Hello(1, "b", 0, 2, sticky=True), 1.0))
    assert announced(sink.stop()) == []
    assert announced(take_up(sink, (1, 2), life=1)) == []
    assert announced(take_up(sink, (1, 2), life=2)) == [(("b", 0, 2),)]


def test_acknowledgements_of_a_former_life_count_for_nothing():
    sink = Sink()
    sink.accept(Kind.EVENTS, "a")
    sink.take(sink.source.record(Ack("b", 0, "s.0", 99, 0, ((0, 1),)), 0.0))
    sink.take(sink.source.record(Ack("b", 0, "other.0", 1, 0, ((0, 1),)), 0.0))
    assert not sink.source.ledger.empty


def test_with_pub_sub_alone_what_is_sent_is_finished():
    sink = Sink(push_pull=False, pub_sub=True)
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a")
    sink.stop()
    assert [kind for kind, _, _ in brief(sink.batches)] == [Kind.START, Kind.EVENTS, Kind.STOP]
    assert sink.source.ledger.empty
    sink.take(sink.source.finish(0.0))
    assert sink.source.ended
    assert isinstance(sink.actions[-1].record, End)


def test_open_runs_are_told_to_every_subscriber_that_asks():
    sink = Sink(push_pull=False, pub_sub=True)
    sink.accept(Kind.START, "start")
    for _ in range(2):
        assert brief(sink.take(sink.source.record(Hello(1, "b", 0, 1), 0.0))) == [
            (Kind.START, "run1", ["start"])
        ]


def test_the_time_of_handing_over_travels_and_is_kept_when_a_batch_is_sent_again():
    sink = Sink()
    intake = InputBatch(Kind.EVENTS, ["a"], (None,), 1, handed_ns=77)
    [(first, _)] = sink.take(sink.source.accept(intake, 0.0))
    sink.take(sink.source.record(Lost("b", 0), 0.0))
    [(again, _)] = sink.take(sink.source.tick(GRACE_S[1]))
    assert (first.handed_ns, first.attempt) == (77, 0)
    assert (again.handed_ns, again.attempt) == (77, 1)


def test_what_is_finished_while_it_waits_to_be_sent_again_does_not_leave_any_more():
    # Its payloads are gone, so the receiver would take it for a loss.
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a", "b", "c")
    sink.take(sink.source.disconnected(ReplicaName("b", 0), 1, 1.0))
    assert sink.take(sink.source.tick(1.0 + GRACE_S[1])) == []
    sink.acknowledge((0, 3), now=3.0)
    came = sink.take(sink.source.record(Hello(1, "b", 0, 2), 4.0))
    assert [items for record, items in came if record.kind == Kind.EVENTS] == [["c"]]
