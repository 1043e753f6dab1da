"""What a source notes of its runs for its next life, where its input can't be read again."""

from types import SimpleNamespace

import msgspec
import pytest

from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns, UnclosedRun
from arroyo.runner.source.volatile_input import VolatileInput, close_former_runs

OPEN = UnclosedRun("scan", 1, 0, start=b"start")


class Window:
    looked = 0
    runs = SimpleNamespace(early_stop=lambda reason: None)

    def look_for_end(self):
        self.looked += 1


@pytest.fixture
def window():
    return Window()


@pytest.fixture
def recovery(replica, window):
    return VolatileInput(replica, window, comes_again=False)


def test_the_epoch_is_on_the_page_once_the_listener_has_opened(recovery, replica):
    assert replica.counts["epoch"] == 0
    recovery.note_open()
    assert replica.counts["epoch"] == recovery.source.epoch > 0


def test_counts_are_on_the_page_for_the_next_life(recovery, replica):
    recovery.keep(NoteCounts(7, 3, 2))
    found = replica.counts
    assert [found[word] for word in ("next", "frontier", "controls")] == [7, 3, 2]


def test_runs_are_in_a_file_and_the_end_of_one_is_looked_for_once(recovery, replica, window):
    noted = []
    replica.runs.note = noted.append
    for runs in ((OPEN,), (OPEN,), ()):
        recovery.keep(NoteRuns(runs))
    assert noted == [(OPEN,), (OPEN,), ()]
    assert window.looked == 1


def test_a_full_disk_is_told_once_and_is_no_reason_to_stop(recovery, replica, caplog):
    def fail(runs):
        raise OSError(28, "No space left on device")

    replica.runs.note = fail
    for _ in range(2):
        recovery.keep(NoteRuns((OPEN,)))
    assert caplog.text.count("can't be noted: No space left on device") == 1


def test_nothing_is_closed_where_nothing_was_left(recovery):
    assert recovery.close_former(0.0) == []
    assert recovery.resume(0.0) == []


def test_what_was_left_open_is_closed(recovery, replica):
    replica.runs.former = (UnclosedRun("scan", 1, 0, start=b"start", next=4),)
    recovery.source.connect()
    (runs,) = [each.runs for each in recovery.close_former(1.0) if isinstance(each, NoteRuns)]
    assert [(run.run, run.stop is None) for run in runs] == [("scan", False)]


# Closing the runs that former lives have left

STOPPED = UnclosedRun("before", 1, 0, start=b"start", next=5, stop=b"stop")
LEFT_OPEN = UnclosedRun("open", 1, 10, start=b"start", next=16, frontier=12)
"""Of its 6 places the first 2 are finished."""
WITHOUT_START = UnclosedRun("", 1, 10, next=13, frontier=10)


def stop_of(replica, run):
    (stop,) = replica.codec.decode(b"\x91" + bytes(run.stop), (), ())
    return stop.data


def test_a_run_that_has_a_stop_keeps_it(replica):
    assert close_former_runs([STOPPED], replica, comes_again=False) == [STOPPED]
    assert replica.counts["lost_before"] == 0


def test_an_open_run_gets_a_stop_that_tells_what_was_lost(replica, caplog):
    caplog.set_level("WARNING")
    (run,) = close_former_runs([LEFT_OPEN], replica, comes_again=False)
    data = stop_of(replica, run)
    assert data["reason"] == "the source died in mid-run"
    assert data["totals"]["lost"] == LEFT_OPEN.lost > 0
    assert replica.counts["lost_before"] == LEFT_OPEN.lost
    assert replica.counts["unseen_before"] == 0
    told = "up to 4 messages in flight that never arrived: of those from 2 to 5 of run open"
    assert told in caplog.text


def test_what_nobody_has_counted_is_beside_what_was_lost(replica):
    close_former_runs([msgspec.structs.replace(LEFT_OPEN, unseen=9)], replica, comes_again=False)
    words = "lost_before", "unseen_before"
    assert [replica.counts[word] for word in words] == [LEFT_OPEN.lost, 9]


def test_nothing_is_lost_where_the_outside_hands_it_over_again(replica, caplog):
    caplog.set_level("INFO")
    (run,) = close_former_runs([LEFT_OPEN], replica, comes_again=True)
    data = stop_of(replica, run)
    assert data["reason"].endswith("what was not finished comes again in another run")
    assert data["totals"].get("lost", 0) == 0
    assert replica.counts["lost_before"] == 0
    assert "comes again in another run" in caplog.text


def test_what_was_in_no_run_is_told_and_needs_no_stop(replica, caplog):
    caplog.set_level("WARNING")
    assert close_former_runs([WITHOUT_START], replica, comes_again=False) == []
    assert "3 messages in flight" in caplog.text
    assert "of run (none)" in caplog.text


def test_after_a_reboot_nobody_knows_how_far_it_had_come(replica, caplog):
    caplog.set_level("WARNING")
    unknown = UnclosedRun("open", 1, 10, start=b"start")
    (run,) = close_former_runs([unknown], replica, comes_again=False)
    assert run.next == 10
    assert "was lost with the run directory" in stop_of(replica, run)["reason"]
    assert "was lost with the run directory" in caplog.text
