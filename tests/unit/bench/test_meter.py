import time

import psutil
import pytest

from arroyo.bench.case import Case
from arroyo.bench.meter import MeasurementError, Meter, Note, measurement_of, quantile, read_notes

CASE = Case(payload_bytes=1024**2, events=11)
IDLE = Note("relay", cpu_ns=1_000_000)


def test_the_rate_counts_from_the_first_message_to_the_last():
    sink = Note("sink", cpu_ns=8_000_000, arrived=11, first_ns=5_000_000_000, last_ns=7_000_000_000)
    source = Note("source", cpu_ns=1_000_000)
    measurement = measurement_of(CASE, [source, IDLE, IDLE, sink])
    assert measurement.messages_per_s == 5.0  # 10 gaps in 2 s
    assert measurement.mib_per_s == 5.0
    assert measurement.cpu_us_per_message == pytest.approx(11_000 / 11)
    cpu_us = (measurement.source_us, measurement.stage_us, measurement.sink_us)
    assert cpu_us == pytest.approx((1000 / 11, 1000 / 11, 8000 / 11))
    assert measurement.hop_p50_us is None


def test_a_timed_function_is_noted_with_its_result(tmp_path):
    meter = Meter(tmp_path, "relay")
    assert meter.timed(sorted, [2, 1]) == [1, 2]
    meter.end()
    [note] = read_notes(tmp_path)
    sink = Note("sink", arrived=CASE.events, last_ns=1)
    measurement = measurement_of(CASE, [IDLE, IDLE, note, sink])
    assert measurement.work_us == note.work_ns[0] / 1e3 > 0
    assert measurement.work_faults == note.work_faults[0] >= 0


def test_the_latency_of_a_chain_is_shared_out_over_its_hops():
    latencies_ns = [300_000] * 98 + [900_000] * 2
    sink = Note("sink", 0, 11, first_ns=0, last_ns=1_000_000_000, latencies_ns=latencies_ns)
    measurement = measurement_of(CASE, [IDLE, IDLE, IDLE, sink])
    assert measurement.hop_p50_us == 100.0
    assert measurement.hop_p99_us == 300.0


@pytest.mark.parametrize(
    "notes",
    [
        [IDLE, IDLE, IDLE],
        [IDLE, IDLE, IDLE, IDLE],
    ],
    ids=["a process is missing", "no sink has the last message"],
)
def test_a_chain_that_did_not_finish_has_no_outcome(notes):
    with pytest.raises(MeasurementError, match="of 4 processes"):
        measurement_of(CASE, notes)


def test_a_meter_knows_the_last_message_and_writes_one_note(tmp_path):
    meter = Meter(tmp_path, "sink", events=3)
    meter.begin()
    assert [meter.arrive_from(0) for _ in range(3)] == [False, False, True]
    meter.end()
    [note] = read_notes(tmp_path)
    assert 0 < note.first_ns <= note.last_ns
    assert len(note.latencies_ns) == 3


def test_the_cpu_time_of_a_daemon_is_added(tmp_path):
    alone, both = (
        Meter(tmp_path / "alone", "sink"),
        Meter(tmp_path / "both", "sink", daemon=psutil.Process()),
    )
    for meter in (alone, both):
        meter.begin()
    until_ns = time.process_time_ns() + 200_000_000
    while time.process_time_ns() < until_ns:
        pass
    for meter, name in ((alone, "alone"), (both, "both")):
        (tmp_path / name).mkdir()
        meter.end()
    [own], [twice] = read_notes(tmp_path / "alone"), read_notes(tmp_path / "both")
    assert own.cpu_ns >= 200_000_000
    assert twice.cpu_ns == pytest.approx(2 * own.cpu_ns, rel=0.2)


def test_a_quantile_is_one_of_the_values():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert quantile([1.0], 0.0) == 1.0


def test_the_rate_of_a_chain_that_loses_some_is_that_of_what_arrived():
    sink = Note("sink", 0, 6, first_ns=0, last_ns=1_000_000_000)
    with pytest.raises(MeasurementError, match="without the sink"):
        measurement_of(CASE, [IDLE, IDLE, IDLE, sink])
    measurement = measurement_of(CASE, [IDLE, IDLE, IDLE, sink], lossless=False)
    assert (measurement.messages_per_s, measurement.arrived) == (5.0, 6)


@pytest.mark.parametrize("arrived", [0, 1])
def test_a_chain_that_loses_next_to_everything_has_no_rate(arrived):
    sink = Note("sink", 0, arrived, first_ns=1_000_000_000, last_ns=1_000_000_000)
    measurement = measurement_of(CASE, [IDLE, IDLE, IDLE, sink], lossless=False)
    assert (measurement.messages_per_s, measurement.arrived) == (0.0, arrived)
