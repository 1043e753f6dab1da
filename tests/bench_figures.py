"""Measurements of two cases, made up."""

from arroyo.bench.case import Case, Measurement

SMALL = Case(100, 1000)
SLOW = Case(1024, 100, interval_s=0.01)


def measurement(rate, cpu_us=1.0, latency_us=None, work_cpu_us=None):
    return Measurement(
        rate,
        rate,
        cpu_us,
        hop_p50_us=latency_us,
        hop_p99_us=latency_us,
        work_cpu_us=work_cpu_us,
    )


def rounds(case, *pairs):
    """Rounds in which all other chains have the first figures of a pair, and Arroyo the second."""
    return [
        {chain: ours if chain == "arroyo" else other for chain in case.chains}
        for other, ours in pairs
    ]
