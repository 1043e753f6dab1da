"""No slab is written while it is read, in whatever order things happen and stores are seen.

The real classes run one access of memory at a time, in an order that is chosen for each example, on
processors that keep their stores back for a while.
"""

import os
import signal
import subprocess
import sys
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slab_usage import slabs_in_use

from arroyo.shared_memory import leases
from arroyo.shared_memory.leases import (
    NOTHING,
    OLDEST,
    PLACES,
    YOUNGEST,
    Lease,
    LeaseTable,
    clear,
)
from arroyo.shared_memory.slab_reader import SlabReader, StaleSlabError

HEAD, DATA = 0, 1
"""Words that stand for a slab's generation, and for its payload: as long as that is true, it is
the number of the generation."""
OLD, NEW = 5, 9
READERS = {0: [], PLACES - 1: [3, 12]}
"""Places of readers, and the other generations that each one has a lease on."""


class Words(list):
    """A part of the memory, as a view of it is used."""

    def tolist(self):
        return list(self)


class Processor(threading.Thread):
    """Runs a program step by step; others see its stores later than itself."""

    def __init__(self, memory, program):
        super().__init__(daemon=True)
        self.memory, self.program = memory, program
        self.stores = []
        self.ended = False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._paused.acquire()

    def run(self):
        self._pause()
        self.program(self)
        self.ended = True
        self._paused.release()

    def _pause(self):
        self._paused.release()
        self._go.acquire()

    def advance(self):
        """Let it do its next step."""
        self._go.release()
        self._paused.acquire()

    def drain(self):
        """Let others see its oldest store."""
        index, value = self.stores.pop(0)
        self.memory[index] = value

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Words(self[each] for each in range(index.start, index.stop))
        if OLDEST <= index < YOUNGEST and index - OLDEST not in READERS:
            return NOTHING  # nobody ever writes there, so it matters to nobody when it is read
        self._pause()
        return (
            next((value for place, value in reversed(self.stores) if place == index), None)
            or (self.memory[index])
        )

    def __setitem__(self, index, value):
        self._pause()
        self.stores.append((index, value))

    def fence(self):
        self._pause()
        while self.stores:
            self.drain()


def play(choose, *, fence):
    """Let two readers and the owner do what they do, and return what the readers saw."""

    def reader(place, others):
        def program(words):
            lease = Lease(words, place, lambda: fence(words))
            for generation in [*others, OLD]:
                lease.extend(generation, generation)
            fence(words)
            if words[HEAD] == OLD:
                seen.extend([words[DATA], words[DATA]])
            lease.narrow(others)

        return program

    def owner(words):
        table = LeaseTable(words, lambda place: True, lambda: fence(words))
        words[HEAD] = 0
        for _ in range(3):
            if not table.reads()(OLD):
                words[DATA] = NEW
                words[HEAD] = NEW
                used.append(NEW)
                return

    seen, used = [], []
    memory = [0] * (YOUNGEST + PLACES)
    clear(memory)
    memory[HEAD] = memory[DATA] = OLD
    programs = [owner, *(reader(place, others) for place, others in READERS.items())]
    processors = [Processor(memory, program) for program in programs]
    while running := [each for each in processors if not each.ended]:
        late = [each for each in processors if each.stores]
        choose([each.advance for each in running] + [each.drain for each in late])()
    for each in processors:
        each.join()
    return seen, used


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=200))
def test_a_slab_is_never_written_while_it_is_read(choices):
    left = iter(choices)
    seen, _ = play(lambda steps: steps[next(left, 0) % len(steps)], fence=Processor.fence)
    assert set(seen) <= {OLD}


def test_chance_finds_both_a_slab_that_is_read_and_one_that_is_used_again():
    played = [play(Random(seed).choice, fence=Processor.fence) for seed in range(100)]
    assert any(seen for seen, _ in played)
    assert any(used for _, used in played)
    assert {number for seen, _ in played for number in seen} == {OLD}


def test_without_fences_a_slab_would_be_written_while_it_is_read():
    played = (play(Random(seed).choice, fence=lambda words: None) for seed in range(2000))
    assert any(NEW in seen for seen, _ in played)


# The same with pools

HOLD = """
import sys
from pathlib import Path
import msgspec
from arroyo.messages import SlabReference
from arroyo.shared_memory.slab_reader import SlabReader

reader = SlabReader("p-", Path(sys.argv[1]))
view = reader.view(msgspec.json.decode(sys.argv[2], type=SlabReference))
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def make_reader(tmp_path):
    readers = []

    def make():
        readers.append(SlabReader("p-", tmp_path))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def offsets(pool, count=4):
    return [pool.write(b"z" * 1000).offset for _ in range(count)]


def test_a_slab_that_is_read_is_not_used_again_before_its_reader_lets_go(pool, make_reader):
    reader = make_reader()
    reference = pool.write(b"a" * 1000)
    view = reader.view(reference)
    pool.give_back(reference)
    reader.release()
    assert reference.offset not in offsets(pool)
    assert bytes(view) == b"a" * 1000
    with pytest.raises(StaleSlabError):
        make_reader().view(reference)
    assert slabs_in_use(pool) == 5
    del view
    reader.release()
    pool.give_back(pool.write(b"z" * 1000))
    assert slabs_in_use(pool) == 4
    assert reference.offset in offsets(pool)


def test_each_of_several_readers_holds_what_it_reads(pool, make_reader):
    readers = [make_reader() for _ in range(3)]
    references = [pool.write(bytes([number]) * 1000) for number in range(3)]
    views = [reader.view(reference) for reader, reference in zip(readers, references, strict=True)]
    pool.give_back(*references)
    assert not {reference.offset for reference in references} & set(offsets(pool))
    assert [view[0] for view in views] == [0, 1, 2]
    views[1] = None
    readers[1].release()
    pool.give_back(pool.write(bytes(1000)))
    assert references[1].offset in offsets(pool, 2)


def test_a_full_pool_looks_again_before_it_gives_up(pool, make_reader):
    reader = make_reader()
    reference = pool.write(bytes(900_000))
    view = reader.view(reference)
    pool.give_back(reference)
    assert pool.write(bytes(900_000)) is None
    view.release()
    del view
    reader.release()
    assert pool.write(bytes(900_000)) is not None


def test_the_lease_of_a_dead_reader_counts_for_nothing(pool, tmp_path):
    import msgspec

    reference = pool.write(bytes(900_000))
    command = [sys.executable, "-c", HOLD, str(tmp_path), msgspec.json.encode(reference)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "holds\n"
        pool.give_back(reference)
        assert pool.write(bytes(900_000)) is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
    assert pool.write(bytes(900_000)) is not None


def test_the_next_reader_in_a_place_begins_without_a_lease(pool, make_reader):
    first = make_reader()
    view = first.view(pool.write(bytes(1000)))
    first.close()
    second = make_reader()
    reference = pool.write(bytes(1000))
    second.view(reference)
    second.release()
    pool.give_back(reference)
    assert reference.offset in offsets(pool, 1)
    assert view[0] == 0


def test_a_reader_without_a_place_gets_copies(pool, make_reader, monkeypatch):
    monkeypatch.setattr(leases, "PLACES", 1)
    first, second = make_reader(), make_reader()
    reference = pool.write(b"a" * 1000)
    first.view(reference)
    first.release()
    copy = second.view(reference)
    pool.give_back(reference)
    assert reference.offset in offsets(pool, 1)
    assert bytes(copy) == b"a" * 1000
    assert copy.readonly
