"""How a listener's `start()` ends is known, however that is."""

import asyncio
import threading

import pytest

from arroyo import IteratingListener, Listener
from arroyo.errors import UnavailableError
from arroyo.runner.intake.listener_thread import LAST_WAIT_S, ListenerThread
from arroyo.runner.user_code.methods import StageMethods


def listen(end):
    """Run a listener whose `start()` ends so; return what is known of it."""

    class Ending(IteratingListener):
        def messages(self):
            end()
            return iter(())

    ended = threading.Event()
    listener = Ending(None)
    listening = ListenerThread(listener, StageMethods(listener), ended.set)
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


def test_an_async_start_is_awaited_on_the_event_loop_of_open():
    class Async(Listener):
        async def open(self):
            self.loop = asyncio.get_running_loop()

        async def start(self):
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is self.loop

        def stop(self):
            pass

    listener, ended = Async(None), threading.Event()
    methods = StageMethods(listener)
    methods.open()
    listening = ListenerThread(listener, methods, ended.set)
    assert ended.wait(LAST_WAIT_S)
    listening.join()
    assert listening.error is None
    methods.close()


class Told(IteratingListener):
    def messages(self):
        return iter(())


class ToldOneByOne(Told):
    def __init__(self):
        self.told = []

    def acknowledge(self, token):
        self.told.append(token)


class ToldTogether(ToldOneByOne):
    def acknowledge_batch(self, tokens):
        self.told.append(tokens)


@pytest.mark.parametrize(
    ("make", "told"), [(ToldOneByOne, [1, 2, 3]), (ToldTogether, [[1, 2], [3]])]
)
def test_what_is_finished_together_is_acknowledged_in_one_call_where_that_is_defined(make, told):
    listener, ended = make(), threading.Event()
    listening = ListenerThread(listener, StageMethods(listener), ended.set)
    assert ended.wait(LAST_WAIT_S)
    listening.join()
    for tokens in ([1, None, 2], [None], [3]):
        listening.acknowledge(tokens)
    assert listener.told == told
