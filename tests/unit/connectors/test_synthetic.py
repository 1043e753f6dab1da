"""SyntheticListener: as many events as asked, the same for the same seed, at the rate asked."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import Recorder

from arroyo.connectors.synthetic import SyntheticListener
from arroyo.errors import ConfigurationError
from arroyo.messages import Event, Start, Stop


def make(**options):
    recorder = Recorder()
    listener = SyntheticListener(recorder, **options)
    listener.open()
    listener.start()
    listener.close()
    return recorder


def test_each_run_is_a_start_its_events_and_a_stop():
    messages = make(events=2, size_bytes=10, runs=2, seed=5).messages
    assert [type(message) for message in messages] == [Start, Event, Event, Stop] * 2
    assert messages[0].data == {"events": 2, "seed": 5, "size_bytes": 10}
    assert [message.metadata for message in messages[1:3]] == [{"index": 0}, {"index": 1}]
    assert messages[3].data == {"events": 2}


@given(st.integers(0, 5000), st.integers(0, 3))
def test_payloads_have_the_size_asked_and_follow_from_the_seed(size_bytes, seed):
    first, again, other = (
        [bytes(event.payload) for event in make(events=3, size_bytes=size_bytes, seed=s).events]
        for s in (seed, seed, seed + 1)
    )
    assert {len(payload) for payload in first} == {size_bytes}
    assert first == again
    if size_bytes >= 16:
        assert len({*first, *other}) == 6


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", ">u4", "float32", "complex64"])
def test_arrays_hold_counts_of_the_type_asked(dtype):
    recorder = make(events=3, shape=[30, 40], dtype=dtype)
    for event in recorder.events:
        assert event.array.shape == (30, 40)
        assert event.array.dtype == np.dtype(dtype)
        assert 0 <= event.array.real.min() < event.array.real.max() <= 999
    assert recorder.messages[0].data["shape"] == [30, 40]
    assert not np.array_equal(recorder.events[0].array, recorder.events[1].array)


def test_a_single_number_is_a_shape_too():
    assert make(events=1, shape=[]).events[0].array.shape == ()


def test_payloads_are_read_only_so_that_nobody_copies_them():
    events = [*make(events=1).events, *make(events=1, shape=[3]).events]
    assert all(memoryview(event.payload).readonly for event in events)


def test_the_rate_is_kept_over_all_runs():
    started_s = time.monotonic()
    make(events=26, runs=2, size_bytes=1, rate_hz=200)
    assert time.monotonic() - started_s >= 51 / 200


def test_late_events_follow_at_once():
    def delay_the_first(event):
        if event.metadata["index"] == 0:
            late_s = time.monotonic() + 0.3
            while time.monotonic() < late_s:
                pass

    arrivals = []
    recorder = Recorder(lambda event: (arrivals.append(time.monotonic()), delay_the_first(event)))
    listener = SyntheticListener(recorder, events=7, size_bytes=1, rate_hz=20)
    listener.open()
    started_s = time.monotonic()
    listener.start()
    assert 6 / 20 <= arrivals[-1] - started_s < 6 / 20 + 0.25


def test_stop_ends_the_run_with_the_number_of_events_made():
    recorder = Recorder(lambda event: listener.stop() if event.metadata["index"] == 2 else None)
    listener = SyntheticListener(recorder, events=10, runs=3, rate_hz=1000)
    listener.open()
    listener.start()
    assert [type(message) for message in recorder.messages] == [Start, *[Event] * 3, Stop]
    assert recorder.messages[-1].data == {"events": 3}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size_bytes": 1, "shape": [1]}, "both given"),
        ({"events": -1}, "^events is -1; expected 0 or more$"),
        ({"runs": -1}, "^runs is -1"),
        ({"size_bytes": -1}, "^size_bytes is -1"),
        ({"shape": [3, -1]}, "^shape is .*; expected lengths of 0 or more$"),
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"shape": [1], "dtype": "object"}, "dtype is 'object'"),
        ({"shape": [1], "dtype": "pixels"}, "dtype is 'pixels'"),
        ({"shape": [1], "dtype": "bool"}, "dtype is 'bool'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        SyntheticListener(Recorder(), **options).open()


def test_numpy_is_loaded_for_arrays_only():
    program = """if True:
        import sys
        from arroyo.connectors.synthetic import SyntheticListener
        SyntheticListener(None, events=1).open()
        print("numpy" in sys.modules)
        """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
