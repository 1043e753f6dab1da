"""What processes have died of is told to those that may get it next."""

import dataclasses
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Batch, Kind
from arroyo.config.run_directory import RunDirectory
from arroyo.control.suspect_notes import (
    LISTS,
    SuspectList,
    SuspectLists,
    SuspectNote,
    leave_list,
    leave_suspect,
    take_suspect,
)
from arroyo.durable.frames import FileKind
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.suspects import DEATHS
from arroyo.protocol.values.batches import pack, sequences_of

FIRST, SECOND = NAMES = ReplicaName("work", 0), ReplicaName("work", 1)
SUSPECT = SuspectNote("images.0", 7, 4711, "died of a segmentation fault (SIGSEGV)", "a stack")


@pytest.fixture
def folder(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.status_page(FIRST).parent.mkdir()
    return directory


def test_a_note_is_taken_once(folder):
    leave_suspect(folder, FIRST, SUSPECT)
    assert take_suspect(folder, FIRST) == SUSPECT
    assert take_suspect(folder, FIRST) is None


def test_a_later_note_takes_the_place_of_an_earlier_one(folder):
    leave_suspect(folder, FIRST, SUSPECT)
    leave_suspect(folder, FIRST, msgspec.structs.replace(SUSPECT, sequence=4712))
    assert take_suspect(folder, FIRST).sequence == 4712


@pytest.mark.parametrize("content", [b"", b"{", bytes(40), FileKind(b"SUSP", 2).head, b"\xff"])
def test_what_is_no_note_says_nothing(folder, content):
    folder.status_page(FIRST).with_name("work.0.suspect").write_bytes(content)
    assert take_suspect(folder, FIRST) is None


# Lists

SOURCE, EPOCH = "images.0", 7
LIST = SuspectList(SOURCE, EPOCH, 100, 164)


def other(number):
    return SuspectList("images.0", 7, number, number + 2)


def test_each_replica_knows_the_lists_of_all(folder):
    leave_list(folder, FIRST, LIST)
    leave_list(folder, SECOND, other(5))
    assert SuspectLists(folder, NAMES).read() == (LIST, other(5))
    assert SuspectLists(folder, [ReplicaName("other", 0)]).read() == ()


def test_a_list_that_is_noted_meanwhile_is_known_from_then_on(folder):
    noted = SuspectLists(folder, NAMES)
    assert noted.read() == ()
    leave_list(folder, SECOND, LIST)
    assert noted.read() == (LIST,)


def test_files_are_not_read_again_while_the_folder_has_not_changed(folder):
    noted = SuspectLists(folder, NAMES)
    leave_list(folder, FIRST, LIST)
    noted.read()
    path = folder.status_page(FIRST).with_name("work.0.lists")
    os.truncate(path, 0)  # which changes the file alone
    assert noted.read() == (LIST,)


def test_the_last_lists_of_a_replica_are_kept_each_once(folder):
    for number in (*range(LISTS + 3), LISTS):
        leave_list(folder, FIRST, other(number))
    found = SuspectLists(folder, NAMES).read()
    assert len(found) == len(set(found)) == LISTS
    assert found[-1] == other(LISTS)


@pytest.mark.parametrize("content", [b"", b"{", bytes(40), FileKind(b"LIST", 2).head, b"\xff"])
def test_what_is_no_note_of_lists_says_nothing(folder, content):
    folder.status_page(FIRST).with_name("work.0.lists").write_bytes(content)
    assert SuspectLists(folder, NAMES).read() == ()
    leave_list(folder, FIRST, LIST)
    assert SuspectLists(folder, NAMES).read() == (LIST,)


def test_without_a_folder_nothing_is_noted(tmp_path):
    assert SuspectLists(RunDirectory(tmp_path / "gone"), NAMES).read() == ()


class Noted(SuspectLists):
    """Has the lists that a function returns."""

    def __init__(self, lists):
        self.lists = lists
        super().__init__(None, ())

    def read(self):
        self._known = tuple(self.lists())
        return self._known


def concern(lists, sequences, attempt=0, **other):
    return lists.concern(batch(sequences, attempt, **other), sequences[0], sequences[-1] + 1)


def batch(sequences, attempt=0, source=SOURCE, epoch=EPOCH):
    return Batch(
        "relay.0",
        1,
        1,
        Kind.EVENTS,
        "r",
        source,
        epoch,
        0,
        0,
        0,
        attempt=attempt,
        ranges=pack(sequences),
    )


def test_a_batch_with_any_message_of_a_noted_list_is_worked_on_one_by_one():
    lists = Noted(lambda: [SuspectList(SOURCE, EPOCH, 10, 20)])
    assert concern(lists, range(19, 25))
    assert concern(lists, [3, 10])
    assert concern(lists, [3, 20])  # other replicas may have those between
    assert not concern(lists, [3, 9])
    assert not concern(lists, [20, 30])
    assert not concern(lists, range(10, 20), epoch=8)
    assert not concern(lists, range(10, 20), source="images.1")


def test_what_siblings_have_died_of_is_asked_for_when_something_comes_again():
    noted = []
    lists = Noted(lambda: noted)
    noted.append(SuspectList(SOURCE, EPOCH, 0, 8))
    assert not concern(lists, range(4))
    assert concern(lists, range(4), attempt=1)
    assert concern(lists, range(4))


def test_without_notes_no_batch_is():
    assert not concern(SuspectLists(None, ()), range(4), attempt=3)


@dataclasses.dataclass
class World:
    """A source, and replicas of one stage that die of some messages.

    What is noted of a replica are its last lists; a message that is in hand alone when its process
    dies is sent alone from then on, and is quarantined at the third death.
    """

    fatal: set[int]
    replicas: int
    left: set[int]
    done: list[int] = dataclasses.field(default_factory=list)
    quarantined: set[int] = dataclasses.field(default_factory=set)
    alone: dict[int, int] = dataclasses.field(default_factory=dict)
    of_lists: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    attempts: dict[int, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.notes = {replica: [] for replica in range(self.replicas)}
        self.stages = [self.start() for _ in range(self.replicas)]

    def start(self):
        return Noted(lambda: [each for notes in self.notes.values() for each in notes])

    def send(self, sequences, replica):
        """Have a replica work on messages that are not finished; it may die of them."""
        sequences = sorted(self.left.intersection(sequences))
        if suspects := [each for each in sequences if each in self.alone]:
            sequences = suspects[:1]
        if not sequences:
            return
        attempt = max(self.attempts.get(each, 0) for each in sequences)
        sent = batch(sequences, attempt)
        singly = len(sequences) == 1 or self.stages[replica].concern(
            sent, sequences[0], sequences[-1] + 1
        )
        found = list(sequences_of(sent))
        if not singly and self.fatal.intersection(found):
            self.of_lists.append(tuple(found))
            noted = SuspectList(SOURCE, EPOCH, found[0], found[-1] + 1)
            self.notes[replica] = [*self.notes[replica], noted][-LISTS:]
            self.die(replica, found)
            return
        for number, each in enumerate(found):
            if each in self.fatal:
                self.alone[each] = self.alone.get(each, 0) + 1
                if self.alone[each] == DEATHS:
                    self.quarantined.add(each)
                    self.left.remove(each)
                self.die(replica, found[number:])
                return
            self.left.remove(each)
            self.done.append(each)

    def die(self, replica, lost):
        for each in lost:
            self.attempts[each] = self.attempts.get(each, 0) + 1
        self.stages[replica] = self.start()


@given(
    st.integers(1, 60),
    st.sets(st.integers(0, 59), max_size=5),
    st.integers(1, 4),
    st.lists(
        st.tuples(st.integers(0, 59), st.integers(1, 60), st.integers(1, 3), st.integers(0, 3))
    ),
)
def test_only_the_messages_to_blame_are_quarantined_each_after_one_list_at_most(
    count, fatal, replicas, sends
):
    fatal = {each for each in fatal if each < count}
    world = World(fatal, replicas, set(range(count)))
    for first, length, step, replica in sends:
        # Also what other replicas have, or have had, in any order and with gaps.
        world.send(range(first, min(count, first + length), step), replica % replicas)
    rounds = 0
    while world.left:
        rounds += 1
        assert rounds <= 4 * len(fatal) + 1
        for replica in range(replicas):
            world.send(range(count), replica)
    assert world.quarantined == fatal
    assert sorted(world.done) == sorted(set(range(count)) - fatal)
    assert all(world.alone[each] == DEATHS for each in fatal)
    assert len(world.of_lists) <= len(fatal)
