"""Tables for people. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from .pairs import Comparison
from .recovery import Idle, Restarts, Start


def comparison_table(
    comparisons: Sequence[Comparison], one: str = "by hand", other: str = "arroyo"
) -> str:
    """Return one line per case: rates or latencies of both chains, their ratio, CPU per message."""
    head = ("chain", one, other, "ratio", f"CPU {one}", f"CPU {other}")
    return table([head, *(_row(comparison) for comparison in comparisons)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _row(comparison: Comparison) -> tuple[str, ...]:
    handwritten, arroyo, case = comparison.handwritten, comparison.arroyo, comparison.case
    if comparison.latency_ratio is not None:
        figures = [f"{each.hop_p50_us:.0f} / {each.hop_p99_us:.0f} us" for each in comparison[1:3]]
        ratio = comparison.latency_ratio
    elif case.payload_bytes >= 64 * 1024:
        figures = [f"{each.mib_per_s:,.0f} MiB/s" for each in (handwritten, arroyo)]
        ratio = comparison.rate_ratio
    else:
        figures = [f"{each.messages_per_s:,.0f} /s" for each in (handwritten, arroyo)]
        ratio = comparison.rate_ratio
    cpu = [f"{each.cpu_us_per_message:,.1f} us" for each in (handwritten, arroyo)]
    return (case.label, *figures, f"{ratio:.2f}", *cpu)


def restarts_line(found: Restarts) -> str:
    """Say how fast a killed stage is back."""
    times = ", ".join(f"{each:.0f}" for each in sorted(found.kill_to_ready_ms))
    return f"kill -9 to READY: median {found.median_ms:.0f} ms of {times}"


def start_line(found: Start) -> str:
    """Say how fast a large chain starts and stops."""
    return (
        f"{found.stages} stages that import numpy and zmq: all READY after "
        f"{found.all_ready_s:.2f} s, stopped within {found.stop_s:.2f} s"
    )


def idle_line(found: Idle) -> str:
    """Say what an idle chain costs."""
    stages = ", ".join(f"{stage} {mib:.1f}" for stage, mib in found.stage_rss_mib.items())
    return (
        f"{found.stages} idle stages: supervisor {found.supervisor_rss_mib:.1f} MiB and "
        f"{found.supervisor_cpu_percent:.1f} % of a core; MiB per stage: {stages}"
    )
