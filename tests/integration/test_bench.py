"""Both chains of the benchmark run, and everything about a chain's life is measured."""

import json
import statistics

import pytest
from click.testing import CliRunner

from arroyo.bench.case import Case
from arroyo.bench.meter import read_notes
from arroyo.bench.pairs import measure_pair
from arroyo.bench.recovery import measure_restarts, measure_start
from arroyo.bench.supervised import SupervisedChain, case_chain
from arroyo.cli.bench import command
from arroyo.identifiers import ReplicaName
from arroyo.telemetry.histogram import quantile_s
from arroyo.telemetry.status_page import read_histograms


@pytest.mark.parametrize(
    "case",
    [
        Case(100, 2000),
        Case(128 * 1024, 50, length=1, replicas=2),
        Case(1024, 20, length=1, interval_s=0.001),
    ],
    ids=["small", "large and replicated", "one at a time"],
)
def test_both_chains_of_a_pair_come_to_their_end(case):
    for outcome in measure_pair(case):
        assert outcome.messages_per_s > 0
        assert outcome.cpu_us_per_message > 0
        assert (outcome.hop_p50_us is not None) == bool(case.interval_s)


def test_a_killed_stage_is_timed_until_its_replacement_is_ready():
    [found_ms] = measure_restarts(1).kill_to_ready_ms
    assert 0 < found_ms < 30_000


def test_a_chain_is_timed_from_its_start_to_its_stop():
    found = measure_start(3)
    assert found.all_ready_s > 0
    assert found.stop_s > 0


def test_what_is_measured_is_kept_with_the_machine_it_was_measured_on(tmp_path, monkeypatch):
    monkeypatch.setattr("arroyo.bench.case.RUN_BYTES", 0)
    monkeypatch.setattr("arroyo.bench.case.MIN_EVENTS", 100)
    arguments = ["throughput", "--size", "100 B", "--length", "1", "--pairs", "1"]
    ended = CliRunner().invoke(command, [*arguments, "--save", str(tmp_path / "kept")])
    assert ended.exit_code == 0, ended.output
    path, picture = sorted((tmp_path / "kept").iterdir())
    assert picture == path.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    machine, *runs, comparison = map(json.loads, path.read_text().splitlines())
    assert {"python", "pyzmq", "libzmq", "msgspec", "arroyo", "cpu", "kernel"} <= set(machine)
    assert [run["chain"] for run in runs] == ["handwritten", "arroyo"]
    assert comparison["kind"] == "comparison"
    assert comparison["rate_ratio"] > 0


def test_a_gate_that_nothing_passes_ends_with_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr("arroyo.bench.case.RUN_BYTES", 0)
    gate = tmp_path / "accepted.json"
    gate.write_text('{"tolerance": 0, "ratios": {"throughput 100 B x1 r1": 1e9}}')
    arguments = ["throughput", "--size", "100 B", "--length", "1", "--pairs", "1"]
    ended = CliRunner().invoke(command, [*arguments, "--gate", str(gate)])
    assert ended.exit_code == 1
    assert "error: throughput 100 B x1 r1" in ended.output


def test_a_size_that_is_none_is_one_sentence():
    ended = CliRunner().invoke(command, ["--size", "8 MB/s"])
    assert ended.exit_code == 64
    assert "expected a size" in ended.output
    assert "Traceback" not in ended.output


def test_the_status_pages_know_the_latency_that_a_sink_measures():
    case = Case(100, 50, length=1, interval_s=0.002)
    with SupervisedChain(lambda folder: case_chain(case, folder)) as chain:
        chain.wait()
        latencies_ns = next(note.latencies_ns for note in read_notes(chain.folder) if note.last_ns)
        seen = {}
        for name in (ReplicaName("pass1", 0), ReplicaName("sink", 0)):
            incarnation = chain.page(name)["incarnation"]
            seen[name.stage] = read_histograms(chain.directory.status_page(name), incarnation)
    assert sum(seen["sink"]["latency"]) == sum(seen["pass1"]["hop"]) == case.events
    median_s = quantile_s(seen["sink"]["latency"], 0.5)
    assert median_s == pytest.approx(statistics.median(latencies_ns) / 1e9, rel=0.5)
    assert quantile_s(seen["pass1"]["latency"], 0.5) < median_s
    assert quantile_s(seen["sink"]["hop"], 0.5) < median_s
