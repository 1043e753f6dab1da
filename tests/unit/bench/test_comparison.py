import pytest

from arroyo.bench.case import Case, Outcome
from arroyo.bench.gate import Gate, read_gate
from arroyo.bench.pairs import Pair, compare
from arroyo.bench.report import comparison_table
from arroyo.errors import ConfigurationError

SMALL = Case(100, 1000)
SLOW = Case(1024, 100, interval_s=0.01)


def outcome(rate, cpu_us=1.0, latency_us=None):
    return Outcome(rate, rate, cpu_us, latency_us, latency_us)


def test_the_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians():
    rates = [(100.0, 50.0), (1000.0, 100.0), (10.0, 8.0)]
    comparison = compare(SMALL, [Pair(outcome(a), outcome(b)) for a, b in rates])
    assert comparison.rate_ratio == 0.5
    assert comparison.handwritten.messages_per_s == 100.0
    assert comparison.arroyo.messages_per_s == 50.0
    assert comparison.headline == 0.5


def test_a_latency_is_better_the_smaller_it_is():
    pair = Pair(outcome(100.0, latency_us=50.0), outcome(100.0, latency_us=200.0))
    comparison = compare(SLOW, [pair])
    assert comparison.latency_ratio == 4.0
    assert comparison.headline == 0.25


def test_the_table_has_a_line_per_case_and_aligned_columns():
    fast = compare(SMALL, [Pair(outcome(200_000.0), outcome(400_000.0))])
    slow = compare(SLOW, [Pair(outcome(1.0, latency_us=50.0), outcome(1.0, latency_us=60.0))])
    head, first, second = comparison_table([fast, slow]).splitlines()
    assert first.startswith("throughput 100 B x2 r1")
    assert "400,000 /s" in first and " 2.00 " in first
    assert "60 / 60 us" in second and " 1.20 " in second
    assert len(head) == len(first) == len(second)


@pytest.mark.parametrize(("rate", "passes"), [(100.0, True), (71.0, True), (69.0, False)])
def test_the_gate_forgives_what_its_tolerance_says(rate, passes):
    gate = Gate(tolerance=0.3, ratios={SMALL.label: 1.0})
    problems = gate.regressions([compare(SMALL, [Pair(outcome(100.0), outcome(rate))])])
    assert bool(problems) != passes
    assert all(SMALL.label in problem and "0.69" in problem for problem in problems)


def test_the_gate_does_not_judge_what_it_does_not_know():
    gate = Gate(tolerance=0.3, ratios={})
    assert gate.regressions([compare(SMALL, [Pair(outcome(100.0), outcome(1.0))])]) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read: No such file"),
        ("{", "not of its form"),
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
