"""`Session`: what one call of `arroyo bench` measures, part by part."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from arroyo.errors import UsageError

from .case import (
    FRAME_BYTES,
    FRAME_WORK,
    LATENCY_PAYLOAD_BYTES,
    LATENCY_RATES,
    SMALL_WORK,
    Case,
    Work,
    delivery_case,
    half_rate_case,
    integrate_case,
    latency_case,
    size_text,
    throughput_case,
)
from .comparison import Comparison, Round, compare, measure_round
from .machine import describe_machine
from .reporting.plots import draw_plots, has_matplotlib
from .reporting.results_file import ResultsFile
from .reporting.tables import comparison_table, idle_line, restarts_line, start_line, work_lines
from .restart_times import measure_idle, measure_restarts, measure_start

INTEGRATION_S = 0.02
"""How long the work on one frame takes in the part of that name."""


class Plan(NamedTuple):
    """Amount of work."""

    sizes: tuple[str, ...]
    pairs: int
    """Runs of each case."""
    effort: float
    """Scales how long each run takes."""
    kills: int
    stages: int


FULL = Plan(("100 B", "1 KiB", "64 KiB", "8 MiB"), pairs=5, effort=1.0, kills=10, stages=50)
QUICK = Plan(("100 B", "8 MiB"), pairs=1, effort=0.25, kills=3, stages=10)


class Session:
    """Measures, keeps all that is found in a file, and says what came out.

    Parameters
    ----------
    say
        Takes lines with results.
    tell_progress
        Takes a line on what is measured next.

    Raises
    ------
    MeasurementError
        In all methods that measure: a chain did not come to its end.
    """

    def __init__(
        self,
        plan: Plan,
        results: ResultsFile,
        *,
        say: Callable[[str], None],
        tell_progress: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._results = results
        self._say = say
        self._tell_progress = tell_progress
        self._machine = describe_machine()
        self.comparisons: list[Comparison] = []
        """All but those of `delivery`."""
        results.note(self._machine)

    def throughput(self, cases: Sequence[Case]) -> None:
        """Run cases as fast as it goes."""
        self.comparisons += [self._measure(case, self._plan.pairs) for case in cases]

    def latency(self, length: int) -> None:
        """Measure chains of a length at low rates, and at half the rate of the slower chain."""
        cases = [latency_case(length, rate, effort=self._plan.effort) for rate in LATENCY_RATES]
        half = self._common_rate(length)
        cases.append(half_rate_case(length, half, effort=self._plan.effort))
        self.throughput(cases)

    def _common_rate(self, length: int) -> float:
        """Return the rate of the slower chain, in messages/s; measure it if that was not done."""
        case = throughput_case(LATENCY_PAYLOAD_BYTES, length, 1, effort=self._plan.effort)
        found = next((each for each in self.comparisons if each.case == case), None)
        if found is None:
            found = self._measure(case, 1)
        return min(found.figures[chain].messages_per_s for chain in ("handwritten", "arroyo"))

    def work(self) -> None:
        """Work on each frame for long, and say what came out."""
        from .stages.frames import pixels_for  # needs numpy

        case = integrate_case(pixels_for(INTEGRATION_S), effort=self._plan.effort)
        self.throughput([case])
        self._say(comparison_table(self.comparisons[-1:]))

    def delivery(self, payloads: Sequence[int]) -> None:
        """Compare reliable and best-effort delivery, and say what came out."""
        cases = [delivery_case(size, effort=self._plan.effort) for size in payloads]
        found = [self._measure(case, self._plan.pairs) for case in cases]
        self._say(comparison_table(found, "reliable"))

    def recovery(self) -> None:
        """Measure kills, a start, and an idle chain, and say what came out."""
        restarts = measure_restarts(self._plan.kills)
        self._results.note({"kind": "restarts", "found": restarts})
        self._say(restarts_line(restarts))
        start = measure_start(self._plan.stages)
        self._results.note({"kind": "start", "found": start})
        self._say(start_line(start))
        idle = measure_idle(self._plan.stages)
        self._results.note({"kind": "idle", "found": idle})
        self._say(idle_line(idle))

    def say_comparisons(self) -> None:
        """Say what came out so far."""
        if self.comparisons:
            self._say(comparison_table(self.comparisons))

    def say_work(self) -> None:
        """Say what stages' own functions took."""
        for line in work_lines(self.comparisons):
            self._say(line)

    def plot(self) -> None:
        """Draw a picture beside the results, if these are saved."""
        if self._results.path is None:
            return
        if not has_matplotlib():
            self._say("no plots: matplotlib is not installed; pip install 'arroyo[bench]'")
            return
        machine, path = self._machine, self._results.path.with_suffix(".png")
        title = f"{machine['cpu']}, {machine['cores']} cores, arroyo {machine['commit'] or ''}"
        if draw_plots(self.comparisons, title, path):
            self._say(f"plots: {path}")

    def _measure(self, case: Case, count: int) -> Comparison:
        rounds: list[Round] = []
        for pair in range(1, count + 1):
            self._tell_progress(f"{case.label}: pair {pair} of {count}")
            rounds.append(measure_round(case))
            for chain, found in rounds[-1].items():
                run = {"kind": "run", "case": case, "pair": pair, "chain": chain, "outcome": found}
                self._results.note(run)
        comparison = compare(case, rounds)
        self._results.note({"kind": "comparison", **comparison._asdict()})
        return comparison


def throughput_cases(
    payloads: Sequence[int],
    works: Sequence[Work],
    lengths: Sequence[int],
    replicas: Sequence[int],
    effort: float,
) -> list[Case]:
    """Return a case for each combination that there is.

    `works`: what happens to messages; none: all that can.

    UsageError: there is none.
    """
    cases = [
        throughput_case(size, length, count, work, effort=effort)
        for length, count, size in itertools.product(lengths, replicas, payloads)
        for work in works or _works_of(size)
        if work in _works_of(size)
    ]
    if not cases:
        raise UsageError(
            f"--case {works[0]} is not for messages of {size_text(payloads[0])}, "
            f"but {', '.join(_works_of(payloads[0]))} are; those from {size_text(FRAME_BYTES)} on "
            "are frames"
        )
    return cases


def _works_of(size: int) -> Sequence[Work]:
    """Return all that can be measured with payloads of this size."""
    return FRAME_WORK if size >= FRAME_BYTES else SMALL_WORK
