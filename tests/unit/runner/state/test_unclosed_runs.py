import pytest
from msgspec import structs
from small_disk import fill

from arroyo.durable.frames import FileKind
from arroyo.errors import ConfigurationError
from arroyo.protocol.recovery.unclosed_run import FORMER_RUNS, UnclosedRun
from arroyo.runner.state.unclosed_runs import COMPACT_BYTES, UnclosedRuns
from arroyo.telemetry.status_page import StatusPage

EPOCH, BASE = 7, 1
OPEN = UnclosedRun("run", EPOCH, BASE, b"\x91")
STOPPED = UnclosedRun("first", EPOCH, BASE, b"\x91", 9, 9, b"\x92")


@pytest.fixture
def page(tmp_path):
    return tmp_path / "count.0"


def noted(page):
    return page.parent / "runs" / page.name


def live(page, *runs, epoch=EPOCH, **words):
    """Live as far as that, and die; returns what the next life finds."""
    mapped = StatusPage(page, 1, 1)
    for field, value in {"epoch": epoch, "next": 1, "controls": 1, **words}.items():
        mapped.set(field, value)
    if runs:
        note(page, *runs)
    mapped.close()
    return left(page)


def note(page, *runs):
    """Note these runs as the life does that has this page."""
    kept = UnclosedRuns(page.parent / "none", noted(page))
    kept.note(runs)
    kept.close()


def left(page):
    """Return what the next life finds."""
    kept = UnclosedRuns(page, noted(page))
    kept.close()
    return kept.former


def test_a_first_life_finds_nothing(page):
    assert left(page) == ()


def test_a_run_that_was_open_is_found_as_far_as_it_had_come(page):
    assert live(page, OPEN, next=9, frontier=4, received=8) == (
        structs.replace(OPEN, next=9, frontier=4),
    )


def test_a_stop_that_somebody_lacks_is_found_as_it_was_beside_the_run_that_was_open(page):
    second = structs.replace(OPEN, run="second", base=11)
    assert live(page, STOPPED, second, next=14, frontier=9, controls=3, received=11) == (
        STOPPED,
        structs.replace(second, next=14, frontier=9),
    )


def test_a_run_that_is_over_for_everybody_is_not_found(page):
    live(page, OPEN, next=9, frontier=9)
    note(page)
    assert live(page, next=9, frontier=9, received=8) == ()


@pytest.mark.parametrize("epoch", [0, 8], ids=["at once", "before it has closed the run"])
def test_runs_outlive_a_life_that_died_too_early_to_close_them(page, epoch):
    found = live(page, STOPPED, OPEN, next=9, frontier=4, received=20)
    assert len(found) == 2
    assert live(page, epoch=epoch) == found


def test_rather_no_run_is_known_than_one_as_open_that_has_ended_since(small_disk):
    page = small_disk(16) / "count.0"
    live(page, OPEN, next=9, frontier=9, received=8)
    fill(page.parent)
    with pytest.raises(OSError, match="No space left"):
        note(page, structs.replace(STOPPED, start=bytes(8192)))
    assert left(page) == ()


def test_what_a_life_has_left_is_counted_once_whoever_dies_next(page):
    found = live(page, OPEN, next=9, frontier=4, received=20, run_end=12)
    assert [run.run for run in found] == ["run", ""]
    assert left(page) == left(page) == found


def test_a_life_adds_its_runs_to_those_that_are_not_over(page):
    first = live(page, OPEN, next=9, frontier=4)
    own = UnclosedRun("next", 8, BASE, b"\x91")
    assert live(page, *first, own, epoch=8, next=3, frontier=0) == (
        *first,
        structs.replace(own, next=3),
    )


def test_the_page_of_who_is_no_such_source_leaves_nothing(page):
    assert live(page, epoch=0, received=20) == ()


def test_the_oldest_runs_are_forgotten_where_there_are_too_many(page):
    runs = [structs.replace(STOPPED, run=f"run{number}") for number in range(FORMER_RUNS + 2)]
    assert live(page, *runs) == tuple(runs[2:])


def test_after_a_reboot_nobody_knows_how_far_the_open_run_had_come(page):
    live(page, OPEN, next=9, frontier=4)
    note(page, STOPPED, OPEN)
    page.unlink()
    assert left(page) == (STOPPED, OPEN)
    assert OPEN.totals.as_data() == {"complete": False}
    # The life that found it dies before it has closed it.
    assert live(page, epoch=8, next=0, controls=0) == (STOPPED, OPEN)


def test_the_file_of_a_source_with_many_runs_does_not_grow(page):
    kept = UnclosedRuns(page, noted(page))
    for number in range(3000):
        kept.note([structs.replace(STOPPED, run=f"run{number}")])
        assert noted(page).stat().st_size < COMPACT_BYTES + 1000
    kept.close()
    assert [run.run for run in left(page)] == ["run2999"]
    assert [file.name for file in noted(page).parent.iterdir()] == [page.name]


def test_a_file_that_cannot_be_read_leaves_nothing(page):
    live(page, OPEN, next=9)
    for content in (b"{}", b"", bytes(64)):
        noted(page).write_bytes(content)
        assert left(page) == ()


def test_after_a_full_disk_runs_are_noted_again(small_disk):
    page = small_disk(16) / "count.0"
    kept = UnclosedRuns(page, noted(page))
    kept.note([STOPPED])
    ballast = fill(page.parent)
    with pytest.raises(OSError, match="No space left"):
        kept.note([structs.replace(STOPPED, start=bytes(8192))])
    ballast.unlink()
    kept.note([OPEN])
    kept.close()
    assert left(page) == (OPEN,)


def test_a_file_of_another_version_is_refused(page):
    live(page, OPEN)
    noted(page).write_bytes(FileKind(b"RUNS", 2).head)
    with pytest.raises(ConfigurationError, match="was written by another version of Arroyo"):
        left(page)
