"""What a source has noted is there in its next life, whole notes only."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_disk import small_files

from arroyo.codec import Suspect
from arroyo.durable.append_log import COMPACT_BYTES
from arroyo.durable.frames import HEAD_BYTES, FileKind
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.protocol.recovery.journal import (
    FrontierMoved,
    JournalState,
    ProcessDied,
    RunClosing,
    RunOpened,
    Sent,
    mark_of,
)
from arroyo.runner.state.source_journal import SourceJournal, open_journal

NOTES = [
    RunOpened("run", False, 0, b"start"),
    Sent(1, (mark_of("a"), mark_of(["b", 2]))),
    ProcessDied(Suspect("work", 0, 1, "s.0", 1, 2, "died", "a stack")),
    FrontierMoved(2, 1, {0: 1}, ((1, 2),), (mark_of("a"),)),
    RunClosing(3, b"stop"),
]


def known_after(notes, epoch):
    memory = JournalState(epoch=epoch)
    for note in notes:
        memory.apply(note)
    return memory


def inode_of(file):
    return os.stat(file).st_ino


def test_the_next_life_knows_what_was_noted(tmp_path):
    journal = SourceJournal(tmp_path / "source" / "images.0")
    for note in NOTES:
        journal.note(note)
    journal.close()
    following = SourceJournal(tmp_path / "source" / "images.0")
    assert following.memory == journal.memory == known_after(NOTES, journal.memory.epoch)
    following.close()


def test_nobody_else_may_look_into_its_folder(tmp_path):
    SourceJournal(tmp_path / "images.0").close()
    assert (tmp_path / "images.0").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "images.0" / "journal").stat().st_mode & 0o777 == 0o600


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 200))
def test_a_note_that_was_cut_off_was_never_made(tmp_path, cut):
    folder = tmp_path / f"cut{cut}"
    journal = SourceJournal(folder)
    ends = [(folder / "journal").stat().st_size]
    for note in NOTES:
        journal.note(note)
        ends.append((folder / "journal").stat().st_size)
    journal.close()
    size = max(ends[0], ends[-1] - cut)
    os.truncate(folder / "journal", size)
    whole = sum(end <= size for end in ends[1:])
    assert open_journal(folder / "journal").state == known_after(
        NOTES[:whole], journal.memory.epoch
    )


def test_it_is_written_anew_before_it_grows_large(tmp_path):
    journal = SourceJournal(tmp_path)
    note_bytes = 20_000
    for number in range(3 * COMPACT_BYTES // note_bytes):
        mark = mark_of(f"{number:{note_bytes}}")
        journal.note(Sent(number, (mark,)))
        journal.note(FrontierMoved(number + 1, 0, {}, (), (mark,)))
        assert (tmp_path / "journal").stat().st_size < COMPACT_BYTES + 3 * note_bytes
    journal.close()
    assert open_journal(tmp_path / "journal").state == journal.memory


@pytest.mark.parametrize("content", [b"", bytes(200), b"something else"])
def test_a_broken_file_is_set_aside_and_the_source_begins_anew(tmp_path, content, caplog):
    first = SourceJournal(tmp_path)
    first.note(NOTES[0])
    first.close()
    for count in (1, 2):
        (tmp_path / "journal").write_bytes(content)
        journal = SourceJournal(tmp_path)
        journal.close()
        assert journal.memory == JournalState(epoch=journal.memory.epoch)
        assert journal.memory.epoch != first.memory.epoch
        assert open_journal(tmp_path / "journal").state == journal.memory
        assert (tmp_path / f"journal.broken-{count}").read_bytes() == content
        assert f"is now journal.broken-{count}" in caplog.messages[-1]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_its_name_never_leads_to_what_is_not_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(inode_of(descriptor)))
    journal = SourceJournal(tmp_path)
    journal.close()
    assert synced == [inode_of(tmp_path / "journal"), inode_of(tmp_path)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set ARROYO_STATE_DIR"):
        SourceJournal(tmp_path / "file" / "images.0")


def test_a_full_disk_is_said_and_what_was_noted_before_stays(tmp_path):
    journal = SourceJournal(tmp_path)
    journal.note(RunOpened("kept", False, 0, b"start"))
    words = "make room on its disk, and this stage goes on where it was"
    with small_files(200), pytest.raises(UnavailableError, match=words):
        journal.note(RunOpened("cut", False, 0, b"x" * 1000))
    journal.close()
    assert open_journal(tmp_path / "journal").state.run.run == "kept"


def test_a_journal_of_another_version_is_refused_and_stays(tmp_path):
    SourceJournal(tmp_path).close()
    content = (tmp_path / "journal").read_bytes()
    later = FileKind(b"SRCJ", 2).head + content[HEAD_BYTES:]
    (tmp_path / "journal").write_bytes(later)
    with pytest.raises(ConfigurationError, match=r"journal was written by another version"):
        SourceJournal(tmp_path)
    assert (tmp_path / "journal").read_bytes() == later
