import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arroyo.shared_memory.allocator import (
    HEAD_BYTES,
    PAGE_ALIGNED_BYTES,
    PAGE_BYTES,
    SlabAllocator,
    SlabOwner,
    rounded_size,
)

KIB = 1024
CAPACITY = 1024 * KIB


def everything(end):
    return True


def allocator(capacity=CAPACITY, back=everything):
    return SlabAllocator(capacity, 1, back)


def owner(sequence, source="images.0", epoch=7):
    return SlabOwner(source, epoch, sequence)


def fill(slabs, length):
    """Take slabs until there are no more."""
    slab_ids = []
    while (slab_id := slabs.take(length)) is not None:
        slab_ids.append(slab_id)
    return slab_ids


@given(st.integers(0, 1 << 34))
def test_a_size_is_rounded_by_less_than_an_eighth_to_a_size_that_stays(length):
    size = rounded_size(length)
    assert length <= size < max(length * 9 / 8, length + HEAD_BYTES) + 1
    assert size % HEAD_BYTES == 0
    assert rounded_size(size) == size


@pytest.mark.parametrize("exponent", range(6, 33))
def test_powers_of_two_are_not_rounded(exponent):
    assert rounded_size(1 << exponent) == 1 << exponent


def test_what_was_given_back_last_is_taken_first():
    slabs = allocator()
    first, second, _ = (slabs.take(20 * KIB) for _ in range(3))
    slabs.give_back(second)
    slabs.give_back(first)
    assert slabs.take(20 * KIB).offset == first.offset
    assert slabs.take(20 * KIB).offset == second.offset


def test_payloads_of_about_one_size_share_slabs():
    slabs = allocator()
    slab_id = slabs.take(20 * KIB)
    slabs.give_back(slab_id)
    assert slabs.take(19 * KIB).offset == slab_id.offset


def test_large_payloads_begin_at_a_page_and_small_ones_at_64_bytes():
    slabs = allocator()
    assert slabs.take(100).offset % HEAD_BYTES == 0
    assert [slabs.take(PAGE_ALIGNED_BYTES).offset % PAGE_BYTES for _ in range(3)] == [0, 0, 0]


def test_a_full_pool_gives_none_until_something_is_given_back():
    slabs = allocator()
    slab_ids = fill(slabs, 100 * KIB)
    assert len(slab_ids) == 9  # the tenth has no room for its head
    assert slabs.take(100 * KIB) is None
    slabs.give_back(slab_ids[4])
    assert slabs.take(100 * KIB).offset == slab_ids[4].offset


def test_a_full_pool_lends_a_slab_up_to_twice_as_large():
    slabs = allocator()
    slab_ids = fill(slabs, 160 * KIB)
    fill(slabs, 100)
    slabs.give_back(slab_ids[3])
    slabs.give_back(slab_ids[4])
    assert slabs.take(100 * KIB).offset == slab_ids[4].offset  # whole, the last one first
    assert slabs.take(160 * KIB).offset == slab_ids[3].offset


def test_a_full_pool_cuts_up_a_slab_that_is_more_than_twice_as_large():
    slabs = allocator()
    slab_ids = fill(slabs, 160 * KIB)
    fill(slabs, 100)
    slabs.give_back(slab_ids[3])
    assert len(fill(slabs, 50 * KIB)) == 3


def test_a_pool_follows_payloads_that_grow_for_good():
    slabs = allocator()
    for slab_id in fill(slabs, 20 * KIB):
        slabs.give_back(slab_id)
    assert slabs.take(900 * KIB) is not None


def test_a_payload_larger_than_the_pool_finds_no_slab():
    slabs = allocator()
    assert slabs.take(CAPACITY) is None
    assert allocator(capacity=HEAD_BYTES).take(1) is None


def test_an_empty_payload_has_a_slab_too():
    slabs = allocator()
    assert slabs.take(0).offset != slabs.take(0).offset


def test_the_pool_is_not_used_beyond_what_has_memory():
    limit = 200 * KIB
    asked = []

    def back(end):
        asked.append(end)
        return end <= limit

    slabs = allocator(back=back)
    slab_ids = fill(slabs, 60 * KIB)
    assert len(slab_ids) == 3
    limit = 300 * KIB
    assert slabs.take(60 * KIB) is not None
    slabs.give_back(slab_ids[0])
    asked.clear()
    slabs.take(60 * KIB)
    assert asked == []  # what had memory once is not asked for again


def test_where_memory_ends_a_larger_free_slab_is_used():
    slabs = allocator(back=lambda end: end <= 250 * KIB)
    large = slabs.take(200 * KIB)
    slabs.give_back(large)
    assert slabs.take(150 * KIB).offset == large.offset


def test_a_stale_place_frees_nothing():
    slabs = allocator()
    stale = slabs.take(100)
    assert slabs.give_back(stale)
    current = slabs.take(100, owner(3))
    assert current.offset == stale.offset
    assert not slabs.give_back(stale)
    assert not slabs.assign(stale, owner(1))
    assert slabs.reclaim("images.0", 7, 4) == [current.offset]


def test_slabs_are_reclaimed_below_the_frontier_of_their_own_source_and_epoch_only():
    slabs = allocator()
    slab_ids = [slabs.take(100, owner(sequence)) for sequence in (2, 0, 1)]
    slabs.take(100, owner(0, source="motors.0"))
    slabs.take(100, owner(0, epoch=8))
    assert slabs.reclaim("images.0", 7, 2) == [slab_ids[1].offset, slab_ids[2].offset]
    assert sorted(slabs.owner_epochs()) == [("images.0", 7), ("images.0", 8), ("motors.0", 7)]
    assert slabs.reclaim("images.0", 7, 3) == [slab_ids[0].offset]
    assert sorted(slabs.owner_epochs()) == [("images.0", 8), ("motors.0", 7)]
    assert len(slabs) == 2


def test_a_slab_without_an_owner_is_never_reclaimed_until_it_is_assigned():
    slabs = allocator()
    slab_id = slabs.take(100)
    assert slabs.reclaim("images.0", 7, 1 << 40) == []
    slabs.assign(slab_id, owner(5))
    assert slabs.reclaim("images.0", 7, 5) == []
    assert slabs.reclaim("images.0", 7, 6) == [slab_id.offset]


def test_a_slab_that_was_assigned_twice_to_a_message_is_reclaimed_once():
    slabs = allocator()
    slab_id = slabs.take(100, owner(5))
    slabs.assign(slab_id, owner(5))
    assert slabs.reclaim("images.0", 7, 6) == [slab_id.offset]


def test_a_slab_that_was_given_back_by_hand_is_not_reclaimed_from_its_next_user():
    slabs = allocator()
    slabs.give_back(slabs.take(100, owner(0)))
    slab_id = slabs.take(100, owner(9))
    assert slabs.reclaim("images.0", 7, 9) == []
    assert slabs.reclaim("images.0", 7, 10) == [slab_id.offset]


def test_the_last_owner_counts():
    slabs = allocator()
    slab_id = slabs.take(100, owner(0))
    slabs.assign(slab_id, owner(9))
    assert slabs.reclaim("images.0", 7, 9) == []
    assert slabs.reclaim("images.0", 7, 10) == [slab_id.offset]


class Pool(RuleBasedStateMachine):
    """Any order of calls against a plain account of what is in use."""

    def __init__(self):
        super().__init__()
        self.memory = 256 * KIB
        self.slabs = SlabAllocator(CAPACITY, 1, lambda end: end <= self.memory)
        self.used = {}
        self.owners = {}
        self.last_generation = 0

    @rule(length=st.integers(0, 200 * KIB), owned=st.booleans(), data=st.data())
    def take(self, length, owned, data):
        tag = data.draw(owners) if owned else None
        slab_id = self.slabs.take(length, tag)
        if slab_id is None:
            return
        assert slab_id.generation > self.last_generation
        assert slab_id.offset % (PAGE_BYTES if length >= PAGE_ALIGNED_BYTES else HEAD_BYTES) == 0
        self.last_generation = slab_id.generation
        self.used[slab_id] = length
        self.owners[slab_id] = tag

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def give_back(self, data):
        slab_id = data.draw(st.sampled_from(sorted(self.used)))
        length = self.used.pop(slab_id)
        del self.owners[slab_id]
        assert self.slabs.give_back(slab_id)
        assert not self.slabs.give_back(slab_id)
        again = self.slabs.take(length)
        assert again.generation > self.last_generation
        self.last_generation = again.generation
        self.slabs.give_back(again)

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def assign(self, data):
        slab_id = data.draw(st.sampled_from(sorted(self.used)))
        self.owners[slab_id] = data.draw(owners)
        assert self.slabs.assign(slab_id, self.owners[slab_id])

    @rule(source=st.sampled_from("ab"), epoch=st.integers(0, 1), frontier=st.integers(0, 20))
    def reclaim(self, source, epoch, frontier):
        done = {
            slab_id
            for slab_id, tag in self.owners.items()
            if tag and tag[:2] == (source, epoch) and tag.sequence < frontier
        }
        freed = self.slabs.reclaim(source, epoch, frontier)
        assert sorted(freed) == sorted(slab_id.offset for slab_id in done)
        for slab_id in done:
            del self.used[slab_id], self.owners[slab_id]

    @rule()
    def give_more_memory(self):
        self.memory = min(CAPACITY, self.memory + 128 * KIB)

    @precondition(lambda self: not self.used)
    @rule()
    def an_unused_pool_has_room_for_one_large_payload(self):
        slab_id = self.slabs.take(self.memory // 2)
        assert slab_id is not None
        self.last_generation = slab_id.generation
        self.slabs.give_back(slab_id)

    @invariant()
    def slabs_with_their_heads_do_not_overlap_and_have_memory(self):
        end = HEAD_BYTES
        for slab_id in sorted(self.used):
            assert slab_id.offset - HEAD_BYTES >= end
            end = slab_id.offset + self.used[slab_id]
        assert end <= self.memory

    @invariant()
    def the_count_is_true(self):
        assert len(self.slabs) == len(self.used)


owners = st.builds(SlabOwner, st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 20))


def test_any_order_of_calls_keeps_the_rules():
    run_state_machine_as_test(
        Pool, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
