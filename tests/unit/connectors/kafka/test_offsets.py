"""Which offsets may be committed: never one with something unfinished in front of it.

And where a listener goes on that lost its partitions and got them back: nothing is lost, and
nothing is read twice that it has in hand.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arroyo.connectors.kafka.offsets import NONE, Offsets

PLACE = ("t", 0)


def handed(offsets, *numbers, partition=0):
    progress = offsets["t", partition]
    for number in numbers:
        if not progress.expected <= number or progress.expected == NONE:
            progress.begin(number)
        progress.expected = number + 1
        progress.handed = number


def left_out(offsets, number):
    progress = offsets[PLACE]
    if progress.expected == NONE:
        progress.begin(number)
    progress.expected = number + 1
    return list(progress.committable())


def acknowledged(offsets, *numbers, partition=0):
    return list(offsets.acknowledge([("t", partition, number) for number in numbers]))


def test_what_is_finished_is_committed_once_for_many():
    offsets = Offsets()
    handed(offsets, 5, 6, 7)
    assert acknowledged(offsets, 5, 6) == [("t", 0, 7)]
    assert acknowledged(offsets, 7) == [("t", 0, 8)]


def test_each_partition_has_its_own():
    offsets = Offsets()
    handed(offsets, 1, 2)
    handed(offsets, 8, partition=1)
    assert list(offsets.acknowledge([("t", 1, 8), ("t", 0, 1)])) == [("t", 1, 9), ("t", 0, 2)]


def test_a_message_that_can_not_be_read_is_committed_when_all_before_it_is_finished():
    offsets = Offsets()
    handed(offsets, 0)
    assert left_out(offsets, 1) == []
    assert acknowledged(offsets, 0) == [("t", 0, 2)]


def test_a_message_that_can_not_be_read_is_committed_at_once_where_nothing_is_in_flight():
    offsets = Offsets()
    assert left_out(offsets, 3) == [("t", 0, 4)]
    assert list(offsets.committable()) == []
    handed(offsets, 4)
    assert acknowledged(offsets, 4) == [("t", 0, 5)]
    assert left_out(offsets, 5) == [("t", 0, 6)]


def test_a_partition_that_somebody_else_has_is_not_committed():
    offsets = Offsets()
    handed(offsets, 0, 1)
    offsets.release([PLACE, ("t", 7)])
    assert acknowledged(offsets, 0, 1) == []
    assert list(offsets.committable()) == []


def test_a_topic_that_was_made_anew_begins_anew():
    offsets = Offsets()
    handed(offsets, 100, 101)
    assert acknowledged(offsets, 100) == [("t", 0, 101)]
    offsets.note_committed(PLACE, 101)
    handed(offsets, 0, 1)
    assert acknowledged(offsets, 101) == []
    assert acknowledged(offsets, 0) == [("t", 0, 1)]


def test_a_partition_is_idle_when_all_of_it_is_finished():
    offsets = Offsets()
    handed(offsets, 0, 1)
    assert not offsets.are_idle([PLACE])
    acknowledged(offsets, 0, 1)
    assert offsets.are_idle([PLACE, ("t", 1)])


def test_a_partition_that_is_new_begins_where_the_group_is():
    offsets = Offsets()
    assert offsets.assign(PLACE, 7) == NONE
    assert offsets[PLACE].expected == 7
    assert list(offsets.committable()) == []


def lost(*numbers, committed):
    """A listener that has lost a partition with these messages in hand."""
    offsets = Offsets()
    offsets.assign(PLACE, NONE)
    handed(offsets, *numbers)
    offsets.note_committed(PLACE, committed)
    offsets.release([PLACE])
    return offsets


def test_a_partition_that_comes_back_goes_on_behind_what_is_in_hand():
    offsets = lost(5, 6, 7, committed=5)
    assert acknowledged(offsets, 5) == []
    assert offsets.assign(PLACE, 5) == 8
    assert list(offsets.committable()) == [("t", 0, 6)]
    assert acknowledged(offsets, 7) == [("t", 0, 8)]


def test_a_commit_whose_answer_was_lost_is_no_news():
    offsets = lost(5, 6, 7, committed=5)
    acknowledged(offsets, 5)
    assert offsets.assign(PLACE, 6) == 8
    assert list(offsets.committable()) == []


def test_what_others_have_finished_behind_what_is_in_hand_is_passed_over():
    offsets = lost(5, 6, 7, committed=5)
    assert offsets.assign(PLACE, 10) == 10
    assert acknowledged(offsets, 6) == []
    handed(offsets, 10)
    assert acknowledged(offsets, 7) == []
    assert acknowledged(offsets, 10) == [("t", 0, 11)]


def test_an_offset_that_was_set_back_is_obeyed():
    offsets = lost(5, 6, 7, committed=6)
    assert offsets.assign(PLACE, 2) == NONE
    assert offsets[PLACE].expected == 2
    assert acknowledged(offsets, 6, 7) == []


def test_a_group_without_an_offset_begins_as_a_new_one():
    offsets = lost(5, 6, 7, committed=6)
    assert offsets.assign(PLACE, NONE) == NONE
    assert acknowledged(offsets, 6, 7) == []


def test_a_group_that_had_no_offset_before_begins_where_it_is_now():
    offsets = Offsets()
    offsets.assign(PLACE, NONE)
    handed(offsets, 0, 1, 2)
    offsets.release([PLACE])
    assert offsets.assign(PLACE, 1) == NONE
    assert offsets[PLACE].expected == 1


def test_a_partition_of_which_nothing_was_read_has_nothing_in_hand():
    offsets = Offsets()
    offsets.assign(PLACE, NONE)
    offsets.release([PLACE])
    assert offsets.assign(PLACE, 3) == NONE


class Member:
    """One process of the group: its offsets, and what its chain has in hand."""

    def __init__(self):
        self.offsets = Offsets()
        self.in_hand = []
        self.position = 0
        self.stored = NONE
        self.handed = []


class Group(RuleBasedStateMachine):
    """Members that share one partition, of which the servers take it away and give it back."""

    def __init__(self):
        super().__init__()
        self.members = [Member(), Member(), Member()]
        self.owner = None
        self.end = 0
        self.committed = NONE
        self.finished = set()

    @initialize(count=st.integers(1, 20))
    def begin(self, count):
        self.end = count

    @rule(count=st.integers(1, 5))
    def produce(self, count):
        self.end += count

    @precondition(lambda self: self.owner is None)
    @rule(index=st.integers(0, 2), is_told=st.booleans())
    def assign(self, index, is_told):
        self.owner = member = self.members[index]
        offset = member.offsets.assign(PLACE, self.committed if is_told else NONE)
        member.position = max(self.committed, 0) if offset == NONE else offset
        member.stored = NONE
        self.store(member.offsets.committable())

    def store(self, committable):
        for _, _, offset in committable:
            assert offset > self.owner.stored, "a stored offset goes back"
            self.owner.stored = offset

    @precondition(lambda self: self.owner is not None)
    @rule(count=st.integers(1, 6), unreadable=st.sets(st.integers(0, 40), max_size=4))
    def read(self, count, unreadable):
        member = self.owner
        progress = member.offsets[PLACE]
        for offset in range(member.position, min(member.position + count, self.end)):
            if offset < progress.expected or progress.expected == NONE:
                progress.begin(offset)
            progress.expected = offset + 1
            member.position = offset + 1
            if offset in unreadable:
                self.finished.add(offset)
                self.store(progress.committable())
            else:
                progress.handed = offset
                member.in_hand.append(offset)
                member.handed.append(offset)

    @rule(index=st.integers(0, 2), count=st.integers(1, 10))
    def finish(self, index, count):
        member = self.members[index]
        done, member.in_hand = member.in_hand[:count], member.in_hand[count:]
        self.finished.update(done)
        found = list(member.offsets.acknowledge([(*PLACE, offset) for offset in done]))
        assert member is self.owner or not found, "an offset of a partition of somebody else"
        if found:
            self.store(found)

    @precondition(lambda self: self.owner is not None and self.owner.stored != NONE)
    @rule(is_answered=st.booleans())
    def commit(self, is_answered):
        self.committed = self.owner.stored
        if is_answered:
            self.owner.offsets.note_committed(PLACE, self.committed)

    @precondition(lambda self: self.owner is not None)
    @rule()
    def lose(self):
        self.owner.offsets.release([PLACE])
        self.owner = None

    @rule(index=st.integers(0, 2))
    def die(self, index):
        if self.members[index] is self.owner:
            self.owner = None
        self.members[index] = Member()

    @precondition(lambda self: self.owner is None and self.committed > 0)
    @rule(data=st.data())
    def set_back(self, data):
        self.committed = data.draw(st.integers(0, self.committed - 1))

    @invariant()
    def nothing_is_committed_that_is_not_finished(self):
        assert self.finished >= set(range(self.committed))

    @invariant()
    def nothing_is_passed_over(self):
        """Behind the group's offset all is finished, in the owner's hands, or still to be read."""
        if self.owner is not None:
            to_read = range(max(self.committed, 0), self.owner.position)
            assert set(to_read) <= self.finished | set(self.owner.in_hand)


TestGroup = Group.TestCase


class Alone(Group):
    """One member that loses its partition and gets it back, and nobody else."""

    def __init__(self):
        super().__init__()
        self.members = self.members[:1] * 3

    @precondition(lambda self: self.owner is None)
    @rule()
    def assign(self):
        if self.committed == NONE:
            self.committed = 0
        super().assign(0, True)

    @rule()
    def die(self):
        pass

    @rule()
    def set_back(self):
        pass

    @invariant()
    def nothing_comes_twice(self):
        handed = self.members[0].handed
        assert len(handed) == len(set(handed))


TestAlone = Alone.TestCase
