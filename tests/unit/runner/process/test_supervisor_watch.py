import os
import threading

from arroyo.control.notify import Notifier
from arroyo.runner.process.supervisor_watch import SupervisorWatch

DEADLINE_S = 60.0


def test_the_end_of_the_supervisor_is_told_once():
    lifeline, supervisor = os.pipe()
    told = threading.Event()
    watch = SupervisorWatch(lifeline, Notifier.from_environ({}), told.set, told.clear)
    assert not told.is_set()
    os.close(supervisor)
    assert told.wait(DEADLINE_S)
    watch.close()
    os.close(lifeline)


def test_without_a_supervisor_nothing_is_told_and_closing_ends_the_thread():
    told = threading.Event()
    watch = SupervisorWatch(None, Notifier.from_environ({}), told.set, told.clear)
    watch.close()
    assert not told.is_set()
