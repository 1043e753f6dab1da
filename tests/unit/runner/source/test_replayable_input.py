"""What a source keeps where its input can be read again."""

from types import SimpleNamespace

from arroyo.protocol.recovery.journal import NoteEntry, Sent
from arroyo.runner.source.replayable_input import ReplayableInput
from arroyo.runner.state.source_journal import open_journal


def recovery_of(replica, folder):
    window = SimpleNamespace(runs=SimpleNamespace(early_stop=lambda reason: None))
    return ReplayableInput(replica, window, folder)


def test_the_next_life_goes_on_in_the_same_epoch(replica, tmp_path):
    epochs = set()
    for _ in range(2):
        recovery = recovery_of(replica, tmp_path / "source")
        epochs.add(recovery.source.epoch)
        recovery.close()
    assert len(epochs) == 1


def test_a_note_is_in_the_journal_before_the_source_acts_on_it(replica, tmp_path):
    recovery = recovery_of(replica, tmp_path / "source")
    recovery.keep(NoteEntry(Sent(0, (b"mark", b"mark"))))
    try:
        journal = open_journal(tmp_path / "source" / "journal")
        assert journal.state != open_journal(tmp_path / "none").state
        assert b"mark" in (tmp_path / "source" / "journal").read_bytes()
    finally:
        recovery.close()


def test_it_says_how_many_messages_come_again(replica, tmp_path, caplog):
    caplog.set_level("INFO")
    recovery = recovery_of(replica, tmp_path / "source")
    assert recovery.close_former(0.0) == []
    recovery.keep(NoteEntry(Sent(0, (b"a", b"b"))))
    recovery.close()
    recovery = recovery_of(replica, tmp_path / "source")
    recovery.source.connect()
    recovery.resume(0.0)
    recovery.close()
    assert "2 messages were in flight; they come again" in caplog.text
