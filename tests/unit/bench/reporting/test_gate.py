"""The gate: which results are too far below accepted ones."""

import pytest
from bench_figures import SMALL, measurement, rounds

from arroyo.bench.comparison import compare
from arroyo.bench.reporting.gate import Gate, read_gate
from arroyo.errors import ConfigurationError


@pytest.mark.parametrize(("rate", "passes"), [(100.0, True), (71.0, True), (69.0, False)])
def test_the_gate_forgives_what_its_tolerance_says(rate, passes):
    gate = Gate(tolerance=0.3, ratios={SMALL.label: 1.0})
    problems = gate.regressions(
        [compare(SMALL, rounds(SMALL, (measurement(100.0), measurement(rate))))]
    )
    assert bool(problems) != passes
    assert all(SMALL.label in problem and "0.69" in problem for problem in problems)


def test_the_gate_does_not_judge_what_it_does_not_know():
    gate = Gate(tolerance=0.3, ratios={})
    assert (
        gate.regressions([compare(SMALL, rounds(SMALL, (measurement(100.0), measurement(1.0))))])
        == []
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read: No such file"),
        ("{", "has the wrong form"),
        ('{"tolerance": 2, "ratios": {}}', "tolerance"),
        ('{"tolerance": 0.1, "ratio": {}}', "ratio"),
    ],
)
def test_a_broken_gate_file_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "accepted.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=sentence):
        read_gate(path)
