import os
import select
import signal

import pytest

from arroyo.supervision.watching.signal_bytes import (
    STOP_SIGNALS,
    say_ignored,
    signals_as_bytes,
    signals_to_take,
)

NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)


def test_each_signal_comes_as_a_byte_in_its_turn():
    with signals_as_bytes(NUMBERS) as wakes:
        for number in NUMBERS:
            os.kill(os.getpid(), number)
        assert wakes.recv(16) == bytes(NUMBERS)


def test_nothing_is_to_be_read_where_no_signal_came():
    with signals_as_bytes(NUMBERS) as wakes:
        assert select.select([wakes], [], [], 0)[0] == []
        with pytest.raises(BlockingIOError):
            wakes.recv(1)


def test_more_signals_than_the_socket_holds_hold_up_nobody():
    with signals_as_bytes(NUMBERS) as wakes:
        for _ in range(5000):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert set(wakes.recv(1 << 16)) == {signal.SIGUSR1}


def test_afterwards_signals_do_what_they_did_before():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        with signals_as_bytes(NUMBERS):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    ("hangup", "ends", "left_out"),
    [
        (signal.SIG_DFL, True, set()),
        (signal.SIG_IGN, True, {signal.SIGHUP}),
        (signal.SIG_DFL, False, {signal.SIGCHLD}),
    ],
)
def test_a_hangup_is_left_to_nohup_and_ends_to_who_has_no_orphans(hangup, ends, left_out):
    before = signal.signal(signal.SIGHUP, hangup)
    try:
        taken = set(signals_to_take(ends))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert {*STOP_SIGNALS, signal.SIGCHLD} - taken == left_out


def test_a_signal_that_does_not_stop_says_which_ones_do():
    assert say_ignored(signal.SIGUSR1).startswith("SIGUSR1 is ignored")
