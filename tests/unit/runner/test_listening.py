"""How a listener's `start()` ends is known, however that is."""

import threading

import pytest

from arroyo import IteratingListener
from arroyo.errors import UnavailableError
from arroyo.runner.listening import LAST_WAIT_S, Listening


def listen(end):
    """Run a listener whose `start()` ends so; return what is known of it."""

    class Ending(IteratingListener):
        def messages(self):
            end()
            return iter(())

    ended = threading.Event()
    listening = Listening(Ending(None), ended.set)
    assert ended.wait(LAST_WAIT_S)
    listening.join()
    assert listening.ended
    return listening.error


def raising(error):
    def end():
        raise error

    return end


def test_one_that_has_returned_has_no_error():
    assert listen(lambda: None) is None


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (RuntimeError("no beam"), "Ending.start() raised RuntimeError: no beam"),
        (SystemExit(3), "Ending.start() raised SystemExit: 3"),
    ],
)
def test_what_it_raised_is_said(raised, words):
    error = listen(raising(raised))
    assert str(error) == words
    assert error.__cause__ is raised


def test_an_error_of_ours_stays_what_it_is():
    error = UnavailableError("no server")
    assert listen(raising(error)) is error
