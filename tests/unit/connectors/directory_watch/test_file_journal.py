"""Which files were handed over and finished is known after any death."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arroyo.connectors.directory_watch.complete_files import Stamp
from arroyo.connectors.directory_watch.file_journal import FileJournal
from arroyo.durable.frames import FileKind
from arroyo.errors import ConfigurationError, UnavailableError

STAMP = Stamp(5, 7)
NAMES = st.lists(st.text("ab \n\\+=-0é\udcff", min_size=1, max_size=6), unique=True, max_size=6)


def begin(path, present=(), **limits):
    journal = FileJournal(path, **limits)
    journal.forget(present)
    return journal


def names_in_flight(journal):
    return [name for name, _ in journal.in_flight]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, data=st.data())
def test_the_next_life_knows_every_file_by_its_name(tmp_path, names, data):
    path = tmp_path / "files"
    path.unlink(missing_ok=True)
    journal = begin(path)
    numbers = [journal.hand_over(name, Stamp(index, index)) for index, name in enumerate(names)]
    finished = data.draw(st.integers(0, len(names)))
    for number in numbers[:finished]:
        journal.finish(number)
    journal.close()
    following = begin(path, names)
    assert names_in_flight(following) == names[finished:]
    assert [entry.number for _, entry in following.in_flight] == numbers[finished:]
    assert all(following.is_known(name, Stamp(index, index)) for index, name in enumerate(names))
    assert following.hand_over("another", STAMP) not in numbers
    following.close()


def test_a_note_that_was_cut_off_was_never_written(tmp_path):
    path = tmp_path / "files"
    journal = begin(path)
    first = journal.hand_over("a", STAMP)
    whole = path.stat().st_size
    journal.hand_over("b", STAMP)
    journal.close()
    for size in range(whole, path.stat().st_size):
        copy = tmp_path / f"cut{size}"
        copy.write_bytes(path.read_bytes()[:size])
        following = begin(copy)
        assert names_in_flight(following) == ["a"]
        assert following.hand_over("c", STAMP) == first + 1
        assert not list(tmp_path.glob("*.broken-*"))
        following.close()
        following = begin(copy)
        assert names_in_flight(following) == ["a", "c"]
        following.close()


def test_a_file_that_was_changed_is_not_known(tmp_path):
    journal = begin(tmp_path / "files")
    journal.hand_over("a", STAMP)
    assert journal.is_known("a", STAMP)
    assert not journal.is_known("a", Stamp(6, 7))
    assert not journal.is_known("a", None)
    journal.close()


def test_what_is_gone_is_not_in_flight_any_more(tmp_path):
    journal = begin(tmp_path / "files")
    journal.hand_over("a", STAMP)
    journal.hand_over("b", STAMP)
    journal.drop("a")
    journal.close()
    following = begin(tmp_path / "files")
    assert names_in_flight(following) == ["b"]
    following.close()


def test_what_is_finished_and_gone_is_forgotten_now_and_then(tmp_path):
    path = tmp_path / "files"
    journal = begin(path, forget_bytes=300)
    for number in range(100):
        journal.finish(journal.hand_over(f"file{number}", STAMP))
        journal.forget([f"file{number}"])
    last = journal.hand_over("last", STAMP)
    assert path.stat().st_size < 700
    journal.close()
    following = begin(path)
    assert names_in_flight(following) == ["last"]
    assert following.hand_over("next", STAMP) == last + 1
    following.close()


def test_without_a_path_it_only_counts():
    journal = FileJournal(None)
    journal.forget(())
    assert [journal.hand_over(name, STAMP) for name in "ab"] == [0, 1]
    journal.finish(1)
    assert journal.in_flight == []
    journal.close()


def test_after_a_full_disk_nothing_is_added_to_half_a_note(tmp_path):
    journal = begin(tmp_path / "files")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._log._descriptor)
    os.close(full)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="No space left on device; make room"):
            journal.hand_over("a", STAMP)
    journal.close()


def test_a_journal_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "files").mkdir()
    with pytest.raises(UnavailableError, match="files can't be read: Is a directory"):
        FileJournal(tmp_path / "files")


HEAD = FileKind(b"FILE", 1).head


@pytest.mark.parametrize("content", [b"", bytes(100), b"something else\n", HEAD, HEAD + bytes(60)])
def test_a_journal_of_which_nothing_can_be_read_is_set_aside_and_that_is_said(
    tmp_path, content, caplog
):
    (tmp_path / "files").write_bytes(content)
    journal = begin(tmp_path / "files")
    journal.close()
    assert not journal.is_new
    assert (tmp_path / "files.broken-1").read_bytes() == content
    assert "files is damaged, as after a power cut, and is now files.broken-1" in caplog.text


def noted(path):
    """Leave a journal of a, b and c, of which a is finished; return its last number."""
    journal = begin(path)
    numbers = [journal.hand_over(name, STAMP) for name in "abc"]
    journal.finish(numbers[0])
    journal.close()
    return numbers[-1]


def test_what_can_be_read_of_a_damaged_journal_counts(tmp_path, caplog):
    path = tmp_path / "files"
    last = noted(path)
    path.write_bytes(path.read_bytes() + bytes(60))
    following = begin(path, "abc")
    assert all(following.is_known(name, STAMP) for name in "abc")
    assert names_in_flight(following) == ["b", "c"]
    # Nor are numbers given out that may have stood where it is damaged.
    assert following.hand_over("d", STAMP) > last + 1000
    following.close()
    assert "3 files in it can still be read" in caplog.text


def test_a_journal_of_another_version_is_refused(tmp_path):
    (tmp_path / "files").write_bytes(FileKind(b"FILE", 2).head)
    with pytest.raises(ConfigurationError, match="files was written by another version of Arroyo"):
        FileJournal(tmp_path / "files")


def test_a_journal_that_was_removed_gives_way_to_one_with_other_numbers(tmp_path):
    path = tmp_path / "files"
    lives = []
    for _ in range(2):
        journal = begin(path)
        lives.append({journal.hand_over(name, STAMP) for name in "abc"})
        journal.close()
        path.unlink()
    assert not lives[0] & lives[1]
