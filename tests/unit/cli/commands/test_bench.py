"""`arroyo bench`, with results that are made up in place of measured ones."""

import json

import pytest
from bench_figures import measurement
from invoked import run_by

from arroyo.cli.commands import bench

FASTER, SLOWER = measurement(200.0), measurement(100.0)


@pytest.fixture
def measured(monkeypatch):
    """The cases that were measured; Arroyo is half as fast as any other chain."""
    cases = []

    def measure(case):
        cases.append(case)
        return {chain: SLOWER if chain == "arroyo" else FASTER for chain in case.chains}

    monkeypatch.setattr("arroyo.bench.session.measure_round", measure)
    return cases


run = run_by(bench.command)


def test_each_case_is_measured_as_often_as_it_is_asked_for_and_has_its_line(measured):
    text = run(
        "throughput",
        "--size",
        "100 B",
        "--size",
        "1 KiB",
        "--case",
        "pass",
        "--length",
        3,
        "--pairs",
        2,
    )
    assert [case.payload_bytes for case in measured] == [100, 100, 1024, 1024]
    assert {case.length for case in measured} == {3}
    assert "pass 100 B x3 r1: pair 2 of 2" in text
    assert " 0.50 " in text


def test_small_messages_are_passed_on_one_by_one_and_as_lists_and_frames_are_worked_on(measured):
    run("throughput", "--size", "100 B", "--size", "8 MiB", "--pairs", 1)
    works = [(case.payload_bytes, case.work) for case in measured]
    assert [work for size, work in works if size == 100] == ["pass", "lists"]
    assert {"pass", "read", "transform"} <= {work for size, work in works if size > 100}


def test_every_result_is_saved_with_the_machine_first(measured, tmp_path, monkeypatch):
    monkeypatch.setattr("arroyo.bench.session.has_matplotlib", lambda: False)
    text = run("throughput", "--size", "100 B", "--case", "pass", "--pairs", 1, "--save", tmp_path)
    assert "no plots: matplotlib is not installed" in text
    (path,) = tmp_path.iterdir()
    machine, *rows = map(json.loads, path.read_text().splitlines())
    assert machine["cores"] > 0
    assert [row["kind"] for row in rows] == ["run"] * len(measured[0].chains) + ["comparison"]


@pytest.mark.parametrize(("accepted", "code"), [(0.5, 0), (0.9, 1)])
def test_a_gate_lets_pass_what_it_accepts(measured, tmp_path, accepted, code):
    gate = tmp_path / "gate.json"
    gate.write_text(json.dumps({"tolerance": 0.1, "ratios": {"pass 100 B x2 r1": accepted}}))
    text = run("throughput", "--size", "100 B", "--pairs", 1, "--gate", gate, code=code)
    assert ("error: pass 100 B x2 r1: the ratio" in text) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--size", "large"], 64, "'large'"),
        (["--size", "100 B", "--case", "read"], 64, "is not for messages of 100 B"),
        (["--gate", "none.json"], 78, "the gate file none.json can't be read"),
        (["speed"], 64, "'speed' is not one of"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(measured, arguments, code, words):
    assert words in run(*arguments, code=code)
    assert measured == []
