import os
import signal

import pytest

from arroyo.runner.process.stop_signals import StopNowError, StopSignals


@pytest.fixture
def signals():
    """Stop signals of this process; what was there before comes back."""
    numbers = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR2", "SIGALRM")
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in numbers}
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the test run's own is in the way
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


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
def test_a_terminal_that_goes_away_asks_as_well(signals, number):
    os.kill(os.getpid(), number)
    assert signals.asked


def test_a_second_hangup_does_not_stop_now(signals):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGHUP)
    assert signals.count == 1


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGALRM])
def test_a_signal_without_a_meaning_is_ignored_with_one_line(signals, number, caplog):
    for _ in range(3):
        os.kill(os.getpid(), number)
    assert not signals.asked
    (told,) = caplog.messages
    assert number.name in told


def test_a_handler_of_the_stage_itself_stays(signals):
    def own(*_):
        pass

    signal.signal(signal.SIGALRM, own)
    StopSignals(lambda: None)
    assert signal.getsignal(signal.SIGALRM) is own
