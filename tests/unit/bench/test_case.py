import pytest

from arroyo.bench.case import (
    Case,
    delivery_case,
    half_rate_case,
    integrate_case,
    latency_case,
    throughput_case,
)


def test_less_effort_moves_fewer_messages_but_never_too_few():
    small, large = (throughput_case(size, 2, 1, effort=0.25) for size in (100, 32 * 1024**2))
    assert small.events == 250_000
    assert large.events == 64


def test_half_of_a_rate_is_a_case_of_its_own():
    case = half_rate_case(2, 10_000.0, effort=1.0)
    assert case.interval_s == pytest.approx(1 / 5_000)
    assert case.events == 15_000
    assert case.label == "latency at half rate 1 KiB x2 r1"
    assert latency_case(2, 1000, effort=1.0).label == "latency at 1,000/s 1 KiB x2 r1"


@pytest.mark.parametrize(
    ("case", "label", "chains"),
    [
        (throughput_case(100, 2, 1, effort=1), "pass 100 B x2 r1", "limit typed handwritten"),
        (throughput_case(2**23, 2, 1, effort=1), "pass 8 MiB x2 r1", "limit handwritten"),
        (
            throughput_case(2**23, 1, 2, "fill", effort=1),
            "fill and read 8 MiB x1 r2",
            "limit handwritten",
        ),
        (delivery_case(100, effort=1), "reliable against best-effort 100 B x2 r1", "best-effort"),
        (latency_case(2, 10, effort=1), "latency at 10/s 1 KiB x2 r1", "handwritten"),
        (integrate_case(10, effort=1), "integrate 8 MiB x1 r2", "limit pool"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_case_has_a_name_and_chains_to_be_compared_with(case, label, chains):
    assert case.label == label
    assert " ".join(case.chains) == f"{chains} arroyo"
    assert case.reference == chains.split()[-1]


def test_what_is_as_large_as_a_frame_is_one():
    assert not Case(65_535, 1).frames
    assert Case(65_536, 1).frames
