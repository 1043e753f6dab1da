import os
import signal

import pytest

from arroyo.runner.stop_signals import StopNowError, StopSignals


@pytest.fixture
def signals():
    """Stop signals of this process; what was there before comes back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    woken = []
    made = StopSignals(lambda: woken.append(True))
    made.woken = woken
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_asks_and_wakes(signals):
    assert not signals.asked
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.asked
    assert signals.woken == [True]


def test_the_second_signal_stops_now_whatever_the_code_catches(signals):
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopNowError):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001  (users' code does that)
            pytest.fail("an `except Exception` stops it")


def test_the_death_of_the_supervisor_asks_for_the_end_of_the_whole_chain(signals):
    signals.note_orphaned()
    assert signals.asked
    assert signals.orphaned
    assert signals.woken == [True]


def test_a_late_signal_is_no_failure(signals):
    signals.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert not signals.asked
