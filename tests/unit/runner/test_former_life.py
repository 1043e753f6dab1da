import pytest

from arroyo.protocol.runs import FormerRun
from arroyo.runner.former_life import OpenRun, note_open_run, read_former_run
from arroyo.telemetry.status_page import StatusPage

EPOCH, BASE = 7, 1


@pytest.fixture
def page(tmp_path):
    return tmp_path / "count.0"


def live(page, epoch=EPOCH, *, end=0, frontier=0, opens=None):
    """Live as far as that, and die."""
    words = StatusPage(page, 1, 1)
    for field, value in (("epoch", epoch), ("next", end), ("frontier", frontier)):
        words.set(field, value)
    if opens is not None:
        note_open_run(page, opens)
    words.close()


def test_a_first_life_finds_nothing(page):
    assert read_former_run(page) is None


def test_a_run_that_was_open_is_found(page):
    live(page, end=9, frontier=4, opens=OpenRun("run", EPOCH, BASE, start=b"\x91"))
    assert read_former_run(page) == FormerRun("run", EPOCH, BASE, 9, 4, b"\x91")


def test_a_run_that_was_closed_is_not_found(page):
    live(page, end=9, frontier=9, opens=OpenRun("run", EPOCH, BASE))
    note_open_run(page, None)
    assert read_former_run(page) is None


def test_messages_without_a_run_are_found(page):
    live(page, end=9, frontier=4)
    assert read_former_run(page) == FormerRun("", EPOCH, 0, 9, 4)


@pytest.mark.parametrize("epoch", [0, 8], ids=["at once", "before it has closed the run"])
def test_a_run_outlives_a_life_that_died_too_early_to_close_it(page, epoch):
    live(page, end=9, frontier=4, opens=OpenRun("run", EPOCH, BASE))
    found = read_former_run(page)
    live(page, epoch)
    assert read_former_run(page) == found


def test_a_run_of_ones_own_takes_the_place_of_the_former_one(page):
    live(page, end=9, frontier=4, opens=OpenRun("run", EPOCH, BASE))
    read_former_run(page)
    live(page, 8, end=3, frontier=2, opens=OpenRun("next", 8, BASE))
    assert read_former_run(page) == FormerRun("next", 8, BASE, 3, 2)
