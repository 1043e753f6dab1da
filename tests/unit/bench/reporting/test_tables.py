"""What people read of results."""

from bench_figures import SLOW, SMALL, measurement, rounds

from arroyo.bench.case import Case
from arroyo.bench.comparison import compare
from arroyo.bench.reporting.tables import comparison_table, table, work_lines


def test_columns_are_aligned_the_first_to_the_left():
    assert table([("chain", "rate"), ("a", "10"), ("longer", "5")]).splitlines() == [
        "chain   rate",
        "a         10",
        "longer     5",
    ]


def test_the_table_has_a_line_per_case_and_aligned_columns():
    fast = compare(SMALL, rounds(SMALL, (measurement(200_000.0), measurement(400_000.0))))
    slow = compare(
        SLOW,
        rounds(SLOW, (measurement(1.0, latency_us=50.0), measurement(1.0, latency_us=60.0))),
    )
    head, first, second = comparison_table([fast, slow]).splitlines()
    assert head.split("  ")[0] == "chain"
    assert "of the limit" in head and "CPU the limit" not in head
    assert first.startswith("pass 100 B x2 r1")
    assert "400,000 /s" in first and " 2.00 " in first
    assert "60 / 60 us" in second and " 1.20 " in second and " - " in second
    assert len(head) == len(first) == len(second)


def test_a_stages_function_is_compared_with_itself_outside_of_any_chain():
    case = Case(8 << 20, 64, work="transform")
    outside, inside = measurement(10.0, work_cpu_us=2000.0), measurement(5.0, work_cpu_us=2500.0)
    comparison = compare(case, rounds(case, (outside, inside)))
    assert comparison.work_cpu_ratio == 0.8
    [line] = work_lines([comparison, compare(SMALL, rounds(SMALL, (outside, inside)))][:1])
    assert line.endswith("takes 2.50 ms of CPU for a frame, outside of a chain 2.00 ms (0.80)")
    nothing_timed = compare(SMALL, rounds(SMALL, (measurement(1.0), measurement(1.0))))
    assert work_lines([nothing_timed]) == []
