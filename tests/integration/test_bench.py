"""Both chains of the benchmark run, and everything about a chain's life is measured."""

import json
import statistics
import sys

import pytest
from click.testing import CliRunner

from arroyo.bench.case import FRAME_WORK, SMALL_WORK, Case
from arroyo.bench.comparison import measure_round
from arroyo.bench.meter import read_notes
from arroyo.bench.running.supervised import SupervisedChain, case_chain, run_supervised
from arroyo.cli.commands.bench import command
from arroyo.identifiers import ReplicaName
from arroyo.telemetry.histogram import quantile_s
from arroyo.telemetry.status_page import read_whole_page


@pytest.mark.parametrize(
    "case",
    [
        Case(100, 2000),
        Case(100, 2000, work="lists"),
        Case(128 * 1024, 50, length=1, replicas=2),
        Case(128 * 1024, 50, work="read"),
        Case(128 * 1024, 50, work="fill"),
        Case(128 * 1024, 50, work="transform"),
        Case(128 * 1024, 20, 1, 2, "integrate", pixels=10_000),
        Case(1024, 20, length=1, interval_s=0.001),
    ],
    ids=["small", "lists", "passed on by replicas", *FRAME_WORK[1:], "integrate", "one at a time"],
)
def test_all_chains_of_a_case_come_to_their_end(case):
    found = measure_round(case)
    assert tuple(found) == case.chains
    for chain, measurement in found.items():
        assert measurement.messages_per_s > 0
        assert measurement.cpu_us_per_message > 0
        assert (measurement.hop_p50_us is not None) == bool(case.interval_s)
        assert chain == "limit" or measurement.arrived == case.events
    if case.work not in SMALL_WORK:
        assert found["arroyo"].work_cpu_us > 0


def test_arrays_of_a_stages_code_need_no_new_pages_in_a_chain():
    # Each call makes 8 MiB: 2,048 pages, if they were not kept. Frames are first seen in 16 pages
    # at a time, so what is left is less than those of a frame.
    found = run_supervised(Case(8 << 20, 64, length=1, work="transform"))
    assert found.work_faults <= (8 << 20) // 4096 // 16


def test_what_is_measured_is_kept_with_the_machine_it_was_measured_on(tmp_path, monkeypatch):
    monkeypatch.setattr("arroyo.bench.case.RUN_BYTES", 0)
    monkeypatch.setattr("arroyo.bench.case.MIN_EVENTS", 100)
    arguments = ["throughput", "--size", "100 B", "--case", "pass", "--length", "1", "--pairs", "1"]
    ended = CliRunner().invoke(command, [*arguments, "--save", str(tmp_path / "kept")])
    assert ended.exit_code == 0, ended.output
    path, picture = sorted((tmp_path / "kept").iterdir())
    assert picture == path.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    machine, *runs, comparison = map(json.loads, path.read_text().splitlines())
    assert {"python", "pyzmq", "libzmq", "msgspec", "arroyo", "cpu", "kernel"} <= set(machine)
    assert [run["chain"] for run in runs] == ["limit", "typed", "handwritten", "arroyo"]
    assert comparison["kind"] == "comparison"
    assert comparison["ratios"]["handwritten"]["rate"] > 0


def test_a_gate_that_nothing_passes_ends_with_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr("arroyo.bench.case.RUN_BYTES", 0)
    gate = tmp_path / "accepted.json"
    gate.write_text('{"tolerance": 0, "ratios": {"pass 100 B x1 r1": 1e9}}')
    arguments = ["throughput", "--size", "100 B", "--length", "1", "--pairs", "1"]
    ended = CliRunner().invoke(command, [*arguments, "--gate", str(gate)])
    assert ended.exit_code == 1
    assert "error: pass 100 B x1 r1" in ended.output


def test_a_size_that_is_none_is_one_sentence():
    ended = CliRunner().invoke(command, ["--size", "8 MB/s"])
    assert ended.exit_code == 64
    assert "expected a size" in ended.output
    assert "Traceback" not in ended.output


def test_small_messages_are_not_read():
    ended = CliRunner().invoke(command, ["throughput", "--size", "100 B", "--case", "read"])
    assert ended.exit_code == 64
    assert "those from 64 KiB on are frames" in ended.output


def test_without_numpy_nothing_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    ended = CliRunner().invoke(command, ["throughput"])
    assert ended.exit_code == 78
    assert ended.output.strip().endswith("pip install 'arroyo[bench]'")


def test_the_status_pages_know_the_latency_that_a_sink_measures():
    case = Case(100, 50, length=1, interval_s=0.002)
    with SupervisedChain(lambda folder: case_chain(case, folder)) as chain:
        chain.wait()
        latencies_ns = next(note.latencies_ns for note in read_notes(chain.folder) if note.last_ns)
        seen = {}
        for stage in ("work1", "sink"):
            page = read_whole_page(chain.directory.status_page(ReplicaName(stage, 0)))
            seen[stage] = {name: page.histogram(name) for name in ("latency", "hop")}
    assert sum(seen["sink"]["latency"]) == sum(seen["work1"]["hop"]) == case.events
    median_s = quantile_s(seen["sink"]["latency"], 0.5)
    assert median_s == pytest.approx(statistics.median(latencies_ns) / 1e9, rel=0.5)
    assert quantile_s(seen["work1"]["latency"], 0.5) < median_s
    assert quantile_s(seen["sink"]["hop"], 0.5) < median_s
