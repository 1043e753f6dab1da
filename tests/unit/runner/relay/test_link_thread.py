from __future__ import annotations

import sys
import threading

import pytest

from arroyo.runner.relay.link_thread import LinkThread

DEADLINE_S = 60.0


@pytest.fixture
def attend():
    """Make link threads; the interpreter's switch interval is put back."""
    made = []
    interval_s = sys.getswitchinterval()

    def make(look):
        made.append(LinkThread(look))
        return made[-1]

    yield make
    for link_thread in made:
        link_thread.close()
    sys.setswitchinterval(interval_s)


class Looks:
    """Counts looks, and lets a test wait for some."""

    def __init__(self):
        self.firsts = []
        self.enough = threading.Event()

    def __call__(self, first):
        self.firsts.append(first)
        if len(self.firsts) >= 3:
            self.enough.set()
        return 0.001


def test_it_looks_again_and_again_while_the_code_works(attend):
    looks = Looks()
    with attend(looks):
        assert looks.enough.wait(DEADLINE_S)
    assert looks.firsts[:3] == [True, False, False]


def test_it_looks_although_the_code_does_not_wait_for_anything(attend):
    looks = Looks()
    with attend(looks):
        while not looks.enough.is_set():
            pass


def test_the_main_thread_waits_for_the_end_of_a_look(attend):
    looking, order = threading.Event(), []

    def look(first):
        looking.set()
        for _ in range(1000):
            order.append("look")
        return 60.0

    with attend(look):
        assert looking.wait(DEADLINE_S)
    order.append("main")
    assert order.index("main") == 1000


def test_what_it_fails_on_is_raised_where_the_code_ends(attend):
    def fail(first):
        raise OSError("no room")

    link_thread = attend(fail)
    with pytest.raises(OSError, match="no room"), link_thread:
        link_thread._thread.join(DEADLINE_S)


def test_what_the_code_raises_comes_before_what_it_failed_on(attend):
    def fail(first):
        raise OSError("no room")

    link_thread = attend(fail)
    with pytest.raises(ValueError, match="of the code"), link_thread:
        link_thread._thread.join(DEADLINE_S)
        raise ValueError("of the code")
