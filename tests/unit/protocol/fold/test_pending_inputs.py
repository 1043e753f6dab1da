from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Ack, Batch, Kind, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.fold import pending_inputs as module
from arroyo.protocol.fold.pending_inputs import PendingInputs, passed
from arroyo.protocol.values.batches import positions_of
from arroyo.protocol.values.deliveries import Output

LIFE = 7
BATCH = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, base=1, frontier=0, path=0)
FOLDED = Output(reason=Reason.FILTERED)
PARTS = ((0, ((0, 2),)), (1, ((1, 2),)))


def make(*, holds=True, paths=2, replicas=1):
    name = ReplicaName("fold", 0)
    return PendingInputs(name, LIFE, paths=paths, replicas=replicas, holds=holds)


def events(*ranges, **changes):
    return msgspec.structs.replace(BATCH, ranges=ranges, **changes)


def take(inputs, batch, output=FOLDED):
    """Take what is new in a batch; returns its sequences, and the acknowledgements."""
    work = [(*position, "message") for position in positions_of(batch)]
    new = inputs.known.select_new(batch, work)
    for sequence, fragment, _ in new:
        if output.reason in (None, Reason.FILTERED):
            inputs.hold(batch, sequence, fragment)
    acks = list(inputs.take(batch, new, [output] * len(new)))
    return [sequence for sequence, _, _ in new], acks


def ack(*ranges, path=0, **fields):
    return Ack("fold", 0, "s.0", 1, path, ranges, **{"paths": 2, **fields})


def test_what_is_taken_is_said_to_be_held_by_this_life_for_all_paths_below():
    assert take(make(), events((1, 4))) == ([1, 2, 3], [ack((1, 4), taken=LIFE)])


def test_without_a_bound_what_is_taken_is_finished():
    inputs = make(holds=False)
    assert take(inputs, events((1, 4))) == ([1, 2, 3], [ack((1, 4))])
    assert inputs.cover(BATCH).inputs == ()


def test_without_a_bound_what_comes_again_is_finished_still():
    inputs = make(holds=False)
    take(inputs, events((1, 3)))
    assert take(inputs, events((2, 4))) == ([3], [ack((2, 4))])
    following = make(holds=False)
    following.recall(inputs.done)
    assert take(following, events((1, 4))) == ([], [ack((1, 4))])


def test_what_waits_for_its_turn_is_not_taken_yet():
    inputs = make()
    batch = events((1, 3))
    inputs.hold(batch, 1, ())
    assert list(inputs.take(batch, [(1, (), "message")], [FOLDED])) == [ack((1, 2), taken=LIFE)]


def test_what_comes_again_is_not_folded_again_but_said_again():
    inputs = make()
    take(inputs, events((1, 3)))
    assert take(inputs, events((2, 4))) == ([3], [ack((2, 4), taken=LIFE)])
    assert inputs.known.redelivered == 1


def test_what_is_finished_comes_again_as_finished():
    inputs = make()
    take(inputs, events((1, 3)))
    list(inputs.finish(inputs.cover(BATCH)))
    assert take(inputs, events((2, 4))) == ([3], [ack((3, 4), taken=LIFE), ack((2, 3))])


def test_inputs_are_finished_with_the_output_that_covers_them():
    inputs = make()
    take(inputs, events((1, 3)))
    covered = inputs.cover(BATCH)
    take(inputs, events((3, 4)))
    assert list(inputs.finish(covered)) == [ack((1, 3))]
    assert [held.sequence for held in inputs.cover(BATCH).inputs] == [3]


def test_each_path_is_told_for_itself():
    inputs = make()
    take(inputs, events((1, 3)))
    take(inputs, events((1, 2), path=4))
    assert list(inputs.finish(inputs.cover(BATCH))) == [ack((1, 3)), ack((1, 2), path=4)]


def test_parts_are_taken_and_finished_as_parts():
    inputs = make()
    batch = events((1, 2), (1, 2), fragments=PARTS)
    parts = tuple((1, fragment) for _, fragment in PARTS)
    assert take(inputs, batch)[1] == [ack(taken=LIFE, fragments=parts)]
    assert list(inputs.finish(inputs.cover(BATCH))) == [ack(fragments=parts)]


def test_what_the_stage_could_not_take_ends_there():
    inputs = make()
    stone = Tombstone(1, 3, Reason.SKIPPED)
    assert take(inputs, events((1, 3)), Output(reason=Reason.SKIPPED)) == (
        [1, 2],
        [ack(tombstones=(stone,))],
    )
    assert inputs.cover(BATCH).inputs == ()
    assert take(inputs, events((1, 3))) == ([], [ack((1, 3))])


def test_what_ended_above_is_finished_here():
    inputs = make()
    stone = Tombstone(1, 3, Reason.FILTERED)
    assert take(inputs, events(tombstones=(stone,))) == ([], [ack(tombstones=(stone,))])
    assert take(inputs, events((1, 3))) == ([], [ack((1, 3))])


def test_an_output_covers_its_run_only():
    inputs = make()
    take(inputs, events((1, 3)))
    take(inputs, events((1, 3), source="t.0"))
    take(inputs, events((3, 4), run="next"))
    covered = inputs.cover(BATCH).inputs
    assert {(held.origin.source, held.origin.run) for held in covered} == {("s.0", "r")}
    assert inputs.cover(BATCH).inputs == ()
    assert len(inputs.cover(events(source="t.0")).inputs) == 2


def test_one_that_says_what_it_holds_covers_all_else_of_all_runs():
    inputs = make()
    take(inputs, events((1, 4)))
    take(inputs, events((1, 3), source="t.0"))
    still = {Origin("r", "s.0", 1, 2), Origin("r", "t.0", 1, 0)}
    covered = inputs.cover(BATCH, still).inputs
    assert [(held.way[0], held.sequence) for held in covered] == [
        ("s.0", 1),
        ("s.0", 2),
        ("t.0", 2),
    ]
    rest = inputs.cover(BATCH, set()).inputs
    assert [(held.way[0], held.sequence) for held in rest] == [("s.0", 3), ("t.0", 1)]


# Start and Stop


def start(path=0, run="r"):
    return events((0, 1), kind=Kind.START, path=path, run=run)


def test_a_start_is_finished_above_when_it_is_finished_below():
    inputs = make(replicas=3)
    assert list(inputs.tell(start())) == []
    assert list(inputs.finish(passed(start()))) == [ack((0, 1), replicas=3)]
    assert list(inputs.finish(passed(start()))) == []


def test_a_start_is_finished_by_each_path_it_came_by_before_or_after():
    inputs = make(replicas=3)
    assert [*inputs.tell(start()), *inputs.tell(start(path=2))] == []
    assert [each.path for each in inputs.finish(passed(start()))] == [0, 2]
    assert list(inputs.tell(start(path=4))) == [ack((0, 1), path=4, replicas=3)]


def test_a_stop_is_not_finished_with_its_start():
    inputs = make()
    stop = events((5, 6), kind=Kind.STOP)
    list(inputs.tell(start()))
    list(inputs.tell(stop))
    list(inputs.finish(passed(start())))
    assert list(inputs.finish(passed(stop))) == [ack((5, 6), replicas=1)]


def test_only_the_last_runs_that_are_over_are_remembered_and_all_that_are_open(monkeypatch):
    monkeypatch.setattr(module, "KNOWN_RUNS", 2)
    inputs = make()

    def play(run, kind):
        each = events((0, 1), kind=kind, run=run)
        list(inputs.tell(each))
        list(inputs.finish(passed(each)))

    play("open", Kind.START)
    for number in range(4):
        for kind in (Kind.START, Kind.STOP):
            play(f"r{number}", kind)
    assert list(inputs.tell(start(run="open")))
    assert list(inputs.tell(start(run="r3")))
    assert not list(inputs.tell(start(run="r0")))


def test_a_start_that_comes_again_and_again_is_finished_once():
    inputs = make()
    for _ in range(3):
        list(inputs.tell(start()))
    assert list(inputs.finish(passed(start()))) == [ack((0, 1), replicas=1)]


# Over lives


def test_the_next_life_does_not_take_what_was_finished():
    inputs = make()
    take(inputs, events((1, 4)))
    list(inputs.finish(inputs.cover(BATCH)))
    take(inputs, events((4, 5), (5, 6), (5, 6), fragments=((1, ((0, 3),)), (2, ((1, 3),)))))
    (_, part, _) = inputs.cover(BATCH).inputs
    list(inputs.finish(module.CoveredInputs((part,))))
    following = make()
    following.recall(inputs.done)
    assert take(following, events((3, 5))) == ([4], [ack((4, 5), taken=LIFE), ack((3, 4))])
    again = events((5, 6), (5, 6), fragments=((0, ((0, 3),)), (1, ((1, 3),))))
    _, acks = take(following, again)
    assert [(each.taken, each.fragments) for each in acks] == [
        (LIFE, ((5, ((1, 3),)),)),
        (0, ((5, ((0, 3),)),)),
    ]


def test_what_is_below_the_frontier_of_the_source_need_not_be_remembered():
    inputs = make()
    take(inputs, events((1, 4)))
    list(inputs.finish(inputs.cover(BATCH)))
    assert [each.ranges for each in inputs.done] == [((1, 4),)]
    take(inputs, events((4, 5), frontier=4))
    assert list(inputs.done) == []


END = 10
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, END - 1), st.integers(1, 4)),
        st.tuples(st.just("cover"), st.sets(st.integers(0, END))),
        st.tuples(st.just("finish"), st.integers(0, 3)),
    )
)


@given(STEPS)
def test_each_input_is_in_one_output_and_finished_with_that(steps):
    inputs = make()
    batch = events(base=0)
    known, held, finished = set(), set(), set()
    outputs = []
    for step, *rest in steps:
        if step == "take":
            asked = range(rest[0], min(rest[0] + rest[1], END))
            new, acks = take(inputs, events((asked.start, asked.stop), base=0))
            assert set(new) == set(asked) - known
            known |= set(asked)
            held |= set(new)
            assert numbers(acks, taken=True) == set(asked) - finished
            assert numbers(acks, taken=False) == set(asked) & finished
        elif step == "cover":
            still = {Origin("r", "s.0", 1, number) for number in rest[0]}
            outputs.append(inputs.cover(batch, still))
            covered = {each.sequence for each in outputs[-1].inputs}
            assert covered == held - rest[0]
            held -= covered
        elif rest[0] < len(outputs):
            output = outputs.pop(rest[0])
            acks = list(inputs.finish(output))
            assert numbers(acks, taken=True) == set()
            assert numbers(acks, taken=False) == {each.sequence for each in output.inputs}
            finished |= numbers(acks, taken=False)
    following = make()
    following.recall(inputs.done)
    assert set(take(following, events((0, END), base=0))[0]) == set(range(END)) - finished


def numbers(acks, *, taken):
    """Sequences that acknowledgements say are held, or finished."""
    spans = [span for each in acks if bool(each.taken) == taken for span in each.ranges]
    return {number for first, end in spans for number in range(first, end)}
