"""Pairs: the hand-written chain, then Arroyo's, again and again, so that both see one machine.

A machine's speed drifts by more than what is to be seen, but little within a pair. So every
statement is the median of the pairs' ratios. PURE but for `measure_pair`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .case import Case, Outcome
from .handwritten import run_handwritten
from .supervised import run_supervised


class Pair(NamedTuple):
    """Both chains, one right after the other; the first of a delivery case is best-effort."""

    handwritten: Outcome
    arroyo: Outcome


class Comparison(NamedTuple):
    """All pairs of one case; every figure is a median, every ratio one of ratios.

    `rate_ratio` and `cpu_ratio` are Arroyo's over the hand-written chain's; so is `latency_ratio`,
    which only a case with an interval has.
    """

    case: Case
    handwritten: Outcome
    arroyo: Outcome
    rate_ratio: float
    cpu_ratio: float
    latency_ratio: float | None

    @property
    def headline(self) -> float:
        """The ratio that a case is about, such that more is better."""
        return self.rate_ratio if self.latency_ratio is None else 1.0 / self.latency_ratio


def measure_pair(case: Case) -> Pair:
    """Run both chains.

    Raises
    ------
    MeasurementError
        One of them did not come to its end.
    """
    if case.best_effort:
        return Pair(run_supervised(case, best_effort=True), run_supervised(case))
    return Pair(run_handwritten(case), run_supervised(case))


def compare(case: Case, pairs: Sequence[Pair]) -> Comparison:
    """Boil pairs down."""
    handwritten, arroyo = ([pair[chain] for pair in pairs] for chain in (0, 1))
    return Comparison(
        case,
        _median_outcome(handwritten),
        _median_outcome(arroyo),
        _ratio(_column(arroyo, "messages_per_s"), _column(handwritten, "messages_per_s")),
        _ratio(_column(arroyo, "cpu_us_per_message"), _column(handwritten, "cpu_us_per_message")),
        _ratio(_column(arroyo, "hop_p50_us"), _column(handwritten, "hop_p50_us"))
        if case.interval_s
        else None,
    )


def _column(outcomes: Sequence[Outcome], field: str) -> list[float]:
    return [getattr(outcome, field) for outcome in outcomes]


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    return statistics.median([up / down for up, down in zip(numerators, denominators, strict=True)])


def _median_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    columns = {field: _column(outcomes, field) for field in Outcome.__struct_fields__}
    medians = {
        field: statistics.median(values) for field, values in columns.items() if None not in values
    }
    return Outcome(**medians)
